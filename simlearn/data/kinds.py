"""The kinds of samples: which objects they hold, what their labels say, and which relation follows."""

from __future__ import annotations

import math
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from simlearn.data.columns import Columns, Ragged
from simlearn.hashing import content_key, stable_id
from simlearn.relations import Relation, RelationKind
from simlearn.samples import (
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)

Key = Callable[[Any], Hashable]


@dataclass(frozen=True)
class SampleKind(ABC):
    """How samples of one class are read.

    Args:
        key: turns a group, subgroup or label into a stable name before it becomes an id; None takes it as it is.
    """

    key: Key | None = None

    sample: ClassVar[type]
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
        """What the samples say, less their objects."""

    @abstractmethod
    def relate(self, columns: Columns) -> Relation:
        """The relation of a batch with these columns: its labels and the ids of its objects."""

    def ids(self, samples: Sequence[Any]) -> Columns:
        """The ids of the objects of N samples."""
        columns: Columns = {"query_ids": object_ids(self.queries(samples))}
        if not self.shared:
            documents, counts = self.documents(samples)
            columns["document_ids"] = ragged_ids(documents, counts)
        return columns

    def stable(self, value: Any, name: str) -> int:
        """The id of a group, subgroup or label."""
        return stable_id(
            value if self.key is None else self.key(value), name=name, cure=f"pass {name}_key=, a function"
        )


class PairKind(SampleKind):
    """`SimilarityPairSample`: query i with document i."""

    sample = SimilarityPairSample
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
            "scores": torch.tensor([_finite(sample.score, "score", sample) for sample in samples], dtype=torch.float32),
            "subgroups": torch.tensor([self.stable(s.subgroup, "subgroup") for s in samples], dtype=torch.long),
        }

    def relate(self, columns: Columns) -> Relation:
        """Row i judged against row i."""
        ids = (_tensor(columns["query_ids"]), _tensor(columns["document_ids"]))
        return Relation.from_pairs(_tensor(columns["scores"]), _tensor(columns["subgroups"]), ids)


class GroupKind(SampleKind):
    """`SimilarityGroupSample`: each object with all others."""

    sample = SimilarityGroupSample
    relation = RelationKind.GROUPS
    shared = True

    def queries(self, samples: Sequence[SimilarityGroupSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityGroupSample]) -> Columns:
        """`groups`."""
        return {"groups": torch.tensor([self.stable(s.group, "group") for s in samples], dtype=torch.long)}

    def relate(self, columns: Columns) -> Relation:
        """Alike where the groups are equal."""
        return Relation.from_groups(_tensor(columns["groups"]), _tensor(columns["query_ids"]))


class LabelKind(SampleKind):
    """`SimilarityLabelSample`: each object with all others."""

    sample = SimilarityLabelSample
    relation = RelationKind.LABELS
    shared = True

    def queries(self, samples: Sequence[SimilarityLabelSample]) -> list[Any]:
        """Every `obj`."""
        return [sample.obj for sample in samples]

    def labels(self, samples: Sequence[SimilarityLabelSample]) -> Columns:
        """`labels`, ragged; repeated ones count once."""
        rows = []
        for sample in samples:
            labels = [sample.labels] if isinstance(sample.labels, (str, bytes)) else sample.labels
            rows.append(sorted({self.stable(label, "label") for label in labels}))
        return {"labels": Ragged.of(rows, torch.long)}

    def relate(self, columns: Columns) -> Relation:
        """Alike where a label is shared."""
        labels = _ragged(columns["labels"])
        return Relation.from_labels(labels.offsets, labels.values, _tensor(columns["query_ids"]))


class RankingKind(SampleKind):
    """`SimilarityRankingSample`: a query with its candidates."""

    sample = SimilarityRankingSample
    relation = RelationKind.RANKING

    def queries(self, samples: Sequence[SimilarityRankingSample]) -> list[Any]:
        """Every `query`."""
        return [sample.query for sample in samples]

    def documents(self, samples: Sequence[SimilarityRankingSample]) -> tuple[list[Any], list[int]]:
        """All candidates, sample by sample."""
        return [document for s in samples for document in s.documents], [len(s.documents) for s in samples]

    def labels(self, samples: Sequence[SimilarityRankingSample]) -> Columns:
        """`relevances`, ragged."""
        for sample in samples:
            if len(sample.documents) != len(sample.relevances):
                raise ValueError(
                    f"a ranking sample has {len(sample.documents)} documents and {len(sample.relevances)} relevances; "
                    f"give one relevance a document (query {sample.query!r:.80})"
                )
        rows = [[_finite(value, "relevance", sample) for value in sample.relevances] for sample in samples]
        return {"relevances": Ragged.of(rows, torch.float32)}

    def relate(self, columns: Columns) -> Relation:
        """Each query judged against its own candidates."""
        relevances = _ragged(columns["relevances"])
        ids = (_tensor(columns["query_ids"]), _tensor(columns["document_ids"]))
        return Relation.from_ranking(relevances.offsets, relevances.values, ids)


def object_ids(objects: Sequence[Any]) -> Tensor:
    """(N,) int64: equal for objects of equal content. An object whose content has no key is like no other."""
    return torch.tensor([_object_id(obj) for obj in objects], dtype=torch.long)


def ragged_ids(objects: Sequence[Any], counts: Sequence[int]) -> Ragged:
    """The ids of several objects a sample."""
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), torch.tensor(counts, dtype=torch.long).cumsum(0)])
    return Ragged(object_ids(objects), offsets)


def _object_id(obj: Any) -> int:
    try:
        digest = content_key(obj)
    except TypeError:
        digest = uuid.uuid4().bytes
    return int.from_bytes(digest[:8], "little", signed=True)


def _finite(value: Any, name: str, sample: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(
            f"{name} must be a finite number, got {value} in {sample!r:.200}; drop the sample or mend its {name}"
        )
    return number


def _tensor(column: Tensor | Ragged) -> Tensor:
    return column if isinstance(column, Tensor) else column.values


def _ragged(column: Tensor | Ragged) -> Ragged:
    if isinstance(column, Tensor):
        raise TypeError("this column must be ragged")
    return column
