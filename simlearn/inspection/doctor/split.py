"""A data set read once: a number for each object and what is said of it, in columns of a few bytes.

Objects are told apart by 64 bits of their content after normalisation. A million pairs take about 60 MB.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simlearn.data.kinds import LabelKind
from simlearn.data.object_ids import ObjectIds
from simlearn.data.share import chunks
from simlearn.data.similarity_data_loader import SimilarityDataLoader
from simlearn.encoding import rough_length
from simlearn.relations import RelationKind
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample

Integers = npt.NDArray[np.int64]

_RUN = 1024


def normalised(value: Any) -> Any:
    r"""What two objects have in common that a reader would call the same.

    Texts, also those within lists and dictionaries, lose what Unicode holds for equivalent (NFKC), case, and the kind
    and amount of white space; everything else stays.

    >>> normalised("  The ﬁrst\u00a0ROW ") == normalised("the first row")
    True
    """
    if isinstance(value, str):
        text = value if value.isascii() else unicodedata.normalize("NFKC", value)
        return " ".join(text.casefold().split())
    if isinstance(value, Mapping):
        return {key: normalised(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and any(isinstance(one, (str, list, tuple, Mapping)) for one in value):
        return [normalised(one) for one in value]
    return value


@dataclass(frozen=True, eq=False)
class Split:
    """The columns of a data set with S samples. Pairs and candidates are J judgements, objects with labels likewise.

    Args:
        loader: the data.
        name: what to call it.
        n_samples: S.
        owners: (J,) the sample of each judgement.
        queries: (J,) the number of the query, or of the object.
        documents: (J,) of the document; empty for groups and labels.
        exact_queries: (J,) numbers before normalisation.
        exact_documents: likewise.
        scores: (J,) float32; empty for groups and labels.
        groups: (J,) the subgroup, group or label.
        query_lengths: (J,) rough lengths; 0 for what has none.
        document_lengths: likewise.
        unlabelled: objects without any label.
    """

    loader: SimilarityDataLoader
    name: str
    n_samples: int
    owners: Integers
    queries: Integers
    documents: Integers
    exact_queries: Integers
    exact_documents: Integers
    scores: npt.NDArray[np.float32]
    groups: Integers
    query_lengths: Integers
    document_lengths: Integers
    unlabelled: int = 0

    @classmethod
    def read(cls, loader: SimilarityDataLoader, name: str) -> Split:
        """Read a data set to its end."""
        reader = _Reader(loader)
        for run in chunks(loader.source, _RUN):
            reader.add(run)
        columns = {key: np.array(value, dtype=np.int64) for key, value in reader.columns.items()}
        scores = np.array(reader.scores, dtype=np.float32)
        return cls(loader, name, reader.n_samples, scores=scores, unlabelled=reader.unlabelled, **columns)

    @property
    def relation(self) -> RelationKind:
        """The kind of its samples."""
        return self.loader.relation

    @property
    def has_documents(self) -> bool:
        """Whether samples have queries and documents."""
        return self.relation in (RelationKind.PAIRS, RelationKind.RANKING)

    def objects(self) -> Integers:
        """The different numbers of all objects, ascending."""
        return np.unique(np.concatenate([self.queries, self.documents]))

    def pairs(self, ordered: bool = False) -> Integers:
        """(J,) a number for the two objects of each judgement; the same both ways round unless `ordered`."""
        first, second = self.queries.view(np.uint64), self.documents.view(np.uint64)
        if not ordered:
            first, second = np.minimum(first, second), np.maximum(first, second)
        mixed = first * np.uint64(0x9E3779B97F4A7C15) ^ (second + np.uint64(0x632BE59BD9B4E019)) * np.uint64(
            0xBF58476D1CE4E5B9
        )
        found: Integers = (mixed ^ (mixed >> np.uint64(29))).view(np.int64)
        return found

    def samples(self, numbers: Iterable[int]) -> dict[int, Any]:
        """Some samples again, to show them."""
        wanted = {int(number) for number in numbers}
        if not self.loader.is_stream:
            source: Any = self.loader.source
            return {number: source[number] for number in sorted(wanted)}
        found: dict[int, Any] = {}
        for number, sample in enumerate(self.loader.source):
            if number in wanted:
                found[number] = sample
                if len(found) == len(wanted):
                    break
        return found

    def texts(self, judgements: Iterable[int], show: Callable[[Any], str]) -> list[str]:
        """Judgements as lines to show."""
        rows = [int(row) for row in judgements]
        samples = self.samples(self.owners[rows] if rows else [])
        lines = []
        for row in rows:
            owner = int(self.owners[row])
            sample, label = samples[owner], ""
            if isinstance(sample, SimilarityPairSample):
                label = f"{show(sample.obj_a)} | {show(sample.obj_b)}  (score {sample.score:g}"
                label += f", subgroup {show(sample.subgroup)})" if sample.subgroup != 0 else ")"
            elif isinstance(sample, SimilarityRankingSample):
                place = row - int(np.searchsorted(self.owners, owner))
                label = (
                    f"{show(sample.query)} | {show(sample.documents[place])}  (relevance {sample.relevances[place]:g})"
                )
            else:
                said = getattr(sample, "group", getattr(sample, "labels", None))
                label = f"{show(sample.obj)}  ({show(said)})"
            lines.append(f"{self.name} {owner}: {label}")
        return lines


class _Reader:
    def __init__(self, loader: SimilarityDataLoader) -> None:
        self.kind = loader.kind
        self.n_samples = 0
        self.unlabelled = 0
        self.scores = array("f")
        names = "owners queries documents exact_queries exact_documents groups query_lengths document_lengths"
        self.columns = {name: array("q") for name in names.split()}
        self._ids = ObjectIds()  # one for all, so that objects without a key are like themselves

    def add(self, samples: list[Any]) -> None:
        kind, first = self.kind, self.n_samples
        self.n_samples += len(samples)
        queries, (documents, counts) = kind.queries(samples), kind.documents(samples)
        if kind.shared:
            counts = [1] * len(samples)
        if isinstance(kind, LabelKind):
            labels = [sorted(kind.label_set(sample)) for sample in samples]
            counts = [len(own) for own in labels]
            self.unlabelled += counts.count(0)
            self.columns["groups"].extend(label for own in labels for label in own)
        elif kind.relation is RelationKind.GROUPS:
            self.columns["groups"].extend(kind.stable(sample.group, "group", sample) for sample in samples)
        elif kind.relation is RelationKind.PAIRS:
            self.columns["groups"].extend(kind.stable(sample.subgroup, "subgroup", sample) for sample in samples)
            self.scores.extend(kind.labels(samples)["scores"].tolist())  # type: ignore[union-attr]
        else:
            self.columns["groups"].extend([0] * len(documents))
            self.scores.extend(kind.labels(samples)["relevances"].values.tolist())  # type: ignore[union-attr]
        self.columns["owners"].extend(_repeated(range(first, self.n_samples), counts))
        self._objects("queries", "query_lengths", queries, counts)
        if not kind.shared:
            self._objects("documents", "document_lengths", documents, [1] * len(documents))

    def _objects(self, name: str, lengths: str, objects: list[Any], counts: list[int]) -> None:
        if not objects:
            return
        exact = self._ids(objects).tolist()
        plain = [normalised(obj) for obj in objects]
        same = [one is other for one, other in zip(plain, objects, strict=True)]
        ids = exact if all(same) else self._ids(plain).tolist()
        self.columns[name].extend(_repeated(ids, counts))
        self.columns[f"exact_{name}"].extend(_repeated(exact, counts))
        self.columns[lengths].extend(_repeated([rough_length(obj) for obj in objects], counts))


def _repeated(values: Iterable[int], counts: list[int]) -> Iterator[int]:
    return (value for value, count in zip(values, counts, strict=True) for _ in range(count))
