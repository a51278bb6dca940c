"""The kinds of samples: which objects they hold, what their labels say, and which relation follows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from simlearn.data.columns import Column, Columns
from simlearn.data.object_ids import ObjectIds
from simlearn.hashing import stable_id
from simlearn.ragged import Ragged
from simlearn.relations import Relation, RelationKind
from simlearn.samples import (
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)

Key = Callable[[Any], Hashable]

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class SampleKind(ABC):
    """How samples of one class are read.

    Args:
        key: turns a group, subgroup or label into a stable name before it becomes an id; None takes it as it is.
    """

    key: Key | None = None

    sample: ClassVar[type[Any]]
    loader: ClassVar[str]
    """The name of the data loader for these samples, for messages."""
    relation: ClassVar[RelationKind]
    shared: ClassVar[bool] = False
    """Whether queries and documents are the same objects."""

    @abstractmethod
    def queries(self, samples: Sequence[Any]) -> list[Any]:
        """The N query objects of N samples; all objects where they are shared."""

    def documents(self, samples: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """The document objects of N samples, and how many each of them has; none where they are shared."""
        return [], [0] * len(samples)

    @abstractmethod
    def labels(self, samples: Sequence[Any]) -> Columns:
        """What the samples say, less their objects.

        Raises:
            ValueError: for scores that are no finite numbers, and NaN as a name.
            TypeError: for groups, subgroups and labels without a stable name.
        """

    @abstractmethod
    def relate(self, columns: Columns) -> Relation:
        """The relation of a batch with these columns: its labels and the ids of its objects."""

    def ids(self, samples: Sequence[Any]) -> Columns:
        """The ids of the objects of N samples."""
        ids = ObjectIds()
        columns: Columns = {"query_ids": ids(self.queries(samples))}
        if not self.shared:
            documents, counts = self.documents(samples)
            columns["document_ids"] = Ragged.of_lengths(ids(documents), counts)
        return columns

    def stable(self, value: Any, name: str, sample: Any = None) -> int:
        """The id of a group, subgroup or label; `sample` is shown when it has none."""
        value = value if self.key is None else self.key(value)
        try:
            return stable_id(value, name=name, cure=f"pass {name}_key=, a function")
        except (TypeError, ValueError) as error:
            if sample is None:
                raise
            raise type(error)(f"{error} (in {sample!r:.200})") from None


class PairKind(SampleKind):
    """`SimilarityPairSample`: query i with document i."""

    sample = SimilarityPairSample
    loader = "PairsSimilarityDataLoader"
    relation = RelationKind.PAIRS

    def queries(self, samples: Sequence[SimilarityPairSample]) -> list[Any]:
        """Every `obj_a`."""
        return [sample.obj_a for sample in samples]

    def documents(self, samples: Sequence[SimilarityPairSample]) -> tuple[list[Any], list[int]]:
        """Every `obj_b`."""
        return [sample.obj_b for sample in samples], [1] * len(samples)

    def labels(self, samples: Sequence[SimilarityPairSample]) -> Columns:
        """`scores` and `subgroups`."""
        return {
            "scores": torch.tensor([_score(s.score, "score", s) for s in samples], dtype=torch.float32),
            "subgroups": torch.tensor([self.stable(s.subgroup, "subgroup", s) for s in samples], dtype=torch.long),
        }

    def relate(self, columns: Columns) -> Relation:
        """Row i judged against row i."""
        ids = (_tensor(columns["query_ids"]), _tensor(columns["document_ids"]))
        return Relation.from_pairs(_tensor(columns["scores"]), _tensor(columns["subgroups"]), ids)


class GroupKind(SampleKind):
    """`SimilarityGroupSample`: each object with all others."""

    sample = SimilarityGroupSample
    loader = "GroupSimilarityDataLoader"
    relation = RelationKind.GROUPS
    shared = True

    def queries(self, samples: Sequence[SimilarityGroupSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityGroupSample]) -> Columns:
        """`groups`."""
        return {"groups": torch.tensor([self.stable(s.group, "group", s) for s in samples], dtype=torch.long)}

    def relate(self, columns: Columns) -> Relation:
        """Alike where the groups are equal."""
        return Relation.from_groups(_tensor(columns["groups"]), _tensor(columns["query_ids"]))


class LabelKind(SampleKind):
    """`SimilarityLabelSample`: each object with all others."""

    sample = SimilarityLabelSample
    loader = "LabelSimilarityDataLoader"
    relation = RelationKind.LABELS
    shared = True

    def queries(self, samples: Sequence[SimilarityLabelSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityLabelSample]) -> Columns:
        """`labels`, ragged; repeated ones count once."""
        return {"labels": Ragged.from_lists([sorted(self.label_set(sample)) for sample in samples], torch.long)}

    def label_set(self, sample: SimilarityLabelSample) -> set[int]:
        """The ids of a sample's labels."""
        return {self.stable(label, "label", sample) for label in _labels_of(sample)}

    def relate(self, columns: Columns) -> Relation:
        """Alike where a label is shared."""
        labels = _ragged(columns["labels"])
        return Relation.from_labels(labels.offsets, labels.values, _tensor(columns["query_ids"]))


class RankingKind(SampleKind):
    """`SimilarityRankingSample`: a query with its candidates."""

    sample = SimilarityRankingSample
    loader = "RankingSimilarityDataLoader"
    relation = RelationKind.RANKING

    def queries(self, samples: Sequence[SimilarityRankingSample]) -> list[Any]:
        """Every `query`."""
        return [sample.query for sample in samples]

    def documents(self, samples: Sequence[SimilarityRankingSample]) -> tuple[list[Any], list[int]]:
        """All candidates, sample by sample."""
        candidates = [_candidates(sample) for sample in samples]
        return [document for documents in candidates for document in documents], [len(one) for one in candidates]

    def labels(self, samples: Sequence[SimilarityRankingSample]) -> Columns:
        """`relevances`, ragged."""
        for sample in samples:
            documents, relevances = len(_candidates(sample)), len(sample.relevances)
            if documents != relevances:
                raise ValueError(
                    f"a ranking sample has {documents} documents and {relevances} relevances; give one relevance a "
                    f"document (query {sample.query!r:.80})"
                )
        rows = [[_score(value, "relevance", s) for value in s.relevances] for s in samples]
        return {"relevances": Ragged.from_lists(rows, torch.float32)}

    def relate(self, columns: Columns) -> Relation:
        """Each query judged against its own candidates."""
        relevances = _ragged(columns["relevances"])
        ids = (_tensor(columns["query_ids"]), _tensor(columns["document_ids"]))
        return Relation.from_ranking(relevances.offsets, relevances.values, ids)


def _score(value: Any, name: str, sample: Any) -> float:
    """A score as the float32 it becomes, where it is a finite one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise ValueError(
            f"{name} must be a finite number, got {value!r:.80} in {sample!r:.200}; drop the sample or mend its {name}"
        )
    return number


def _labels_of(sample: SimilarityLabelSample) -> Iterable[Any]:
    labels = sample.labels
    if isinstance(labels, (str, bytes)):
        return (labels,)
    if labels is None or isinstance(labels, Iterator):
        raise TypeError(
            f"labels must be a list of labels or one label, got {type(labels).__name__} in {sample!r:.200}; an object "
            "without labels has an empty list"
        )
    try:
        return list(labels)  # type: ignore[arg-type]  # what has no items is refused by list itself
    except TypeError:
        return (labels,)


def _candidates(sample: SimilarityRankingSample) -> Sequence[Any]:
    if isinstance(sample.documents, (str, bytes)) or not hasattr(sample.documents, "__len__"):
        raise TypeError(
            f"the documents of a ranking sample must be a list, got a {type(sample.documents).__name__} "
            f"(query {sample.query!r:.80})"
        )
    return sample.documents


def _tensor(column: Column) -> Tensor:
    return column if isinstance(column, Tensor) else column.values


def _ragged(column: Column) -> Ragged:
    if isinstance(column, Tensor):
        raise TypeError("this column must be ragged")
    return column


KINDS: Final[tuple[type[SampleKind], ...]] = (PairKind, GroupKind, LabelKind, RankingKind)
