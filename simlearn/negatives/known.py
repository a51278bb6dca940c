"""What is known before negatives are mined: the different queries and documents, and which of them are alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simlearn.data import SimilarityDataLoader
from simlearn.data.object_ids import ObjectIds
from simlearn.data.share import chunks
from simlearn.hashing import stable_id
from simlearn.ragged import Ragged
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample

_RUN = 1024


@dataclass(frozen=True, eq=False)
class Known:
    """Different queries and documents, and what is known of them.

    Args:
        queries: N objects, no two alike in content.
        documents: M likewise.
        positives: for each query the rows of its positives.
        relevances: (J,) their scores.
        excluded: for each query what cannot be its negative: its positives, the document that is the query itself, and
            those of its subgroups.
    """

    queries: list[Any]
    documents: list[Any]
    positives: Ragged
    relevances: list[float]
    excluded: Ragged

    @classmethod
    def of(cls, samples: Any, corpus: Iterable[Any] | None = None) -> Known:
        """Read samples.

        Args:
            samples: `SimilarityPairSample`s or `SimilarityRankingSample`s, or a loader of either. What is scored 0 or
                less is not taken for alike; samples without a positive leave their query out.
            corpus: further documents.

        Raises:
            TypeError: for samples of another kind.
            ValueError: where nothing is alike, or there is no document beside the positives.
        """
        if isinstance(samples, SimilarityDataLoader):
            samples = samples.source
        queries, documents, reads = _Distinct(), _Distinct(), _Reads()
        for run in _runs(samples):
            asked = queries.rows([query for query, _, _, _ in run])
            found = documents.rows([one for _, objects, _, _ in run for one in objects])
            for row, (_, objects, scores, subgroup) in zip(asked, run, strict=True):
                reads.add(row, [next(found) for _ in objects], scores, subgroup)
        for run in chunks(corpus or (), _RUN):
            documents.rows(run)
        return reads.known(queries, documents)


class _Reads:
    def __init__(self) -> None:
        self.scores: dict[int, dict[int, float]] = {}
        self.subgroups: dict[int, set[int]] = {}
        self.members: dict[int, set[int]] = {}

    def add(self, query: int, documents: Sequence[int], scores: Sequence[float], subgroup: int) -> None:
        own = self.scores.setdefault(query, {})
        for document, score in zip(documents, scores, strict=True):
            if score > 0:
                own[document] = max(score, own.get(document, score))
            if subgroup:
                self.subgroups.setdefault(query, set()).add(subgroup)
                self.members.setdefault(subgroup, set()).add(document)

    def known(self, queries: _Distinct, documents: _Distinct) -> Known:
        kept = [row for row, own in self.scores.items() if own]
        if not kept:
            raise ValueError("no sample has a score above 0, so nothing is known to be alike; add positives")
        positives = [sorted(self.scores[row]) for row in kept]
        excluded = []
        for row, own in zip(kept, positives, strict=True):
            others = [self.members[subgroup] for subgroup in self.subgroups.get(row, ())]
            itself = documents.find(queries.keys[row])
            excluded.append(sorted({*own, *itself}.union(*others)))
        if all(len(own) >= len(documents.objects) for own in excluded):
            raise ValueError("every document is a positive of every query, none is left to be a negative; add a corpus")
        relevances = [self.scores[row][one] for row, own in zip(kept, positives, strict=True) for one in own]
        return Known(
            [queries.objects[row] for row in kept],
            documents.objects,
            Ragged.from_lists(positives),
            relevances,
            Ragged.from_lists(excluded),
        )


class _Distinct:
    """Objects, each content once, in the order of their first appearance."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.keys: list[int] = []
        self._ids = ObjectIds()
        self._rows: dict[int, int] = {}

    def rows(self, objects: Sequence[Any]) -> Any:
        """An iterator over the row of each object."""
        rows = []
        for key, obj in zip(self._ids(objects).tolist() if objects else (), objects, strict=True):
            row = self._rows.setdefault(key, len(self.objects))
            if row == len(self.objects):
                self.objects.append(obj)
                self.keys.append(key)
            rows.append(row)
        return iter(rows)

    def find(self, key: int) -> list[int]:
        """The row with a key, or none."""
        return [self._rows[key]] if key in self._rows else []


def _runs(samples: Iterable[Any]) -> Iterable[list[tuple[Any, Sequence[Any], Sequence[float], int]]]:
    """Query, documents, their scores, and the subgroup, of some samples at once."""
    return ([_read(sample) for sample in run] for run in chunks(samples, _RUN))


def _read(sample: Any) -> tuple[Any, Sequence[Any], Sequence[float], int]:
    if isinstance(sample, SimilarityPairSample):
        return sample.obj_a, [sample.obj_b], [sample.score], stable_id(sample.subgroup, name="subgroup")
    if isinstance(sample, SimilarityRankingSample):
        if len(sample.documents) != len(sample.relevances):
            raise ValueError(
                f"a ranking sample has {len(sample.documents)} documents and {len(sample.relevances)} relevances"
            )
        return sample.query, list(sample.documents), list(sample.relevances), 0
    raise TypeError(
        f"negatives are mined for SimilarityPairSample and SimilarityRankingSample, got a {type(sample).__name__}. "
        "Groups and labels hold their negatives already: take a loss that looks for the hard ones in a batch, such as "
        'TripletLoss(mining="hard")'
    )
