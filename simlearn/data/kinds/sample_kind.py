"""What is asked of a kind of samples: which objects they hold, what their labels say, and which targets follow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from simlearn.data.columns import Column, Columns
from simlearn.data.object_ids import ObjectIds, ids_of_names
from simlearn.hashing import stable_id
from simlearn.ragged import Ragged
from simlearn.relations import Relation, RelationKind

Key = Callable[[Any], Hashable]

_LARGEST = torch.finfo(torch.float32).max


class Lacks(NamedTuple):
    """What is wrong with data, and its cure, by what it lacks.

    Args:
        positives: where nothing is similar.
        negatives: where nothing is different, though all objects of a batch compare.
        judged_negatives: where only what the samples say counts.
    """

    positives: str
    negatives: str
    judged_negatives: str


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
    has_candidates: ClassVar[bool] = False
    """Whether each query has documents of its own, among which the similar are to be told from the different."""
    names: ClassVar[tuple[str, str | None]]
    """The fields that name a sample's query and its documents; None where these are the queries."""
    lacks: ClassVar[Lacks]
    """What to say of data that can teach nothing."""

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
    def targets(self, columns: Columns) -> Relation:
        """What a batch with these columns, its labels and the ids of its objects, is to be told."""

    def label_sets(self, source: Any) -> Iterator[set[int]] | None:
        """For each sample of a source the ids of its labels; None where samples have none."""
        return None

    def ids(self, samples: Sequence[Any]) -> Columns:
        """The ids of the objects of N samples: of their names where they have any, else of their content.

        Raises:
            ValueError: where some samples name their objects and others do not, or not each of them.
            TypeError: for names that are not stable.
        """
        ids = ObjectIds()
        query, document = self.names
        named = self._named(samples, query)
        columns: Columns = {"query_ids": ids(self.queries(samples)) if named is None else ids_of_names(named, query)}
        if document is not None:
            documents, counts = self.documents(samples)
            named = self._named(samples, document)
            if named is not None and self.has_candidates:
                if [len(names) for names in named] != counts:
                    raise ValueError(f"{document} must name each document of a sample, in their order")
                named = [name for names in named for name in names]
            column = ids(documents) if named is None else ids_of_names(named, document)
            columns["document_ids"] = Ragged.of_lengths(column, counts)
        return columns

    def document_ids(self, columns: Columns) -> Column:
        """Those columns of ids that are the documents'."""
        return columns["query_ids" if self.shared else "document_ids"]

    def _named(self, samples: Sequence[Any], field: str) -> list[Any] | None:
        names = [getattr(sample, field) for sample in samples]
        if all(name is None for name in names):
            return None
        for sample, name in zip(samples, names, strict=True):
            if name is None:
                raise ValueError(f"{sample!r:.200} has no {field}, and others of its batch do; name all or none")
        return names

    def stable(self, value: Any, name: str, sample: Any = None) -> int:
        """The id of a group, subgroup or label; `sample` is shown when it has none."""
        value = value if self.key is None else self.key(value)
        try:
            return stable_id(value, name=name, cure=f"pass {name}_key=, a function")
        except (TypeError, ValueError) as error:
            if sample is None:
                raise
            raise type(error)(f"{error} (in {sample!r:.200})") from None


def score_of(value: Any, name: str, sample: Any) -> float:
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


def as_tensor(column: Column) -> Tensor:
    """The values of a column, end to end where it is ragged."""
    return column if isinstance(column, Tensor) else column.values


def as_ragged(column: Column) -> Ragged:
    """A column that is ragged."""
    if isinstance(column, Tensor):
        raise TypeError("this column must be ragged")
    return column
