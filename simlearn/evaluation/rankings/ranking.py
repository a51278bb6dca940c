"""What was found, beside what is known to be relevant: the input of every ranking metric.

Relevance judgements ("qrels") are a ragged list of documents and grades for each query. A search's result and the
judgements make a `Ranking`, which holds no embeddings and no ids: the grade of what stands at each place, and the
grades that a perfect ranking would have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from simlearn.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Qrels:
    """Which documents are relevant to which query, and how much.

    Args:
        offsets: (N + 1,) int64: query i has the judgements `offsets[i]` to `offsets[i + 1]`.
        documents: (J,) int64 rows of the judged documents, from 0.
        grades: (J,) float32: above 0 is relevant, more is more so; 0 and less is judged not relevant. None: all 1.

    Raises:
        ValueError: when the shapes do not fit, a grade is not finite, or a document is judged twice for one query.
    """

    offsets: Tensor
    documents: Tensor
    grades: Tensor | None = None

    def __post_init__(self) -> None:
        Ragged(self.offsets, self.documents).check_rows("qrels", max(0, len(self.offsets) - 1))
        if self.grades is not None and self.grades.shape != self.documents.shape:
            raise ValueError(f"{len(self.documents)} judged documents need as many grades, got {len(self.grades)}")
        if self.grades is not None and not bool(self.grades.isfinite().all()):
            raise ValueError("qrels have a grade that is NaN or infinite")
        keys, _ = self._sorted
        twice = (keys.diff() == 0).nonzero()
        if len(twice):
            query, document = divmod(int(keys[twice[0, 0]]), self._width)
            raise ValueError(
                f"qrels judge document {document} twice for query {query}, {len(twice)} such judgements in all; keep "
                "one, for instance the highest grade"
            )

    @classmethod
    def from_lists(cls, documents: Sequence[Sequence[int]], grades: Sequence[Sequence[float]] | None = None) -> Qrels:
        """From the rows of the judged documents of each query, and their grades."""
        lists = Ragged.from_lists(documents)
        flat = None if grades is None else torch.tensor([grade for one in grades for grade in one], dtype=torch.float)
        return cls(lists.offsets, lists.values, flat)

    @classmethod
    def from_ids(
        cls, qrels: Mapping[str, Mapping[str, float]], query_ids: Sequence[str], document_ids: Sequence[str]
    ) -> Qrels:
        """From grades by query id and document id.

        Args:
            qrels: may lack queries, which then have no relevant document.
            query_ids: N ids, in the order of the queries' embeddings.
            document_ids: M ids, in the order of the documents' embeddings.

        Raises:
            ValueError: for a judged query or document that is not among the ids.
        """
        row_of = {one: row for row, one in enumerate(document_ids)}
        unknown = [one for one in qrels if one not in set(query_ids)]
        missing = [one for judged in qrels.values() for one in judged if one not in row_of]
        for kind, absent in (("queries", unknown), ("documents", missing)):
            if absent:
                raise ValueError(
                    f"qrels judge {len(absent)} {kind} that are not among the {kind} given, for instance {absent[0]!r}"
                )
        judged = [qrels.get(one, {}) for one in query_ids]
        return cls.from_lists(
            [[row_of[document] for document in one] for one in judged], [list(one.values()) for one in judged]
        )

    @property
    def n_queries(self) -> int:
        """N."""
        return len(self.offsets) - 1

    @property
    def values(self) -> Tensor:
        """(J,) float32 grades."""
        return torch.ones_like(self.documents, dtype=torch.float32) if self.grades is None else self.grades.float()

    def look_up(self, indices: Tensor) -> Tensor:
        """The grades (N, K) float32 of documents (N, K); 0 for those that nobody judged, and for -1."""
        keys, order = self._sorted
        if not len(keys):
            return torch.zeros(indices.shape, device=indices.device)
        width = self._width
        wanted = torch.arange(len(indices), device=indices.device)[:, None] * width + indices
        at = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        known = (keys[at] == wanted) & (indices >= 0) & (indices < width)
        return torch.where(known, self.values[order][at], 0.0)

    def take(self, rows: Tensor) -> Qrels:
        """The judgements of some of the queries."""
        lists = Ragged(self.offsets, self.documents)
        taken, grades = lists.take(rows), self.grades
        return Qrels(taken.offsets, taken.values, None if grades is None else grades[lists.positions(rows)])

    def to(self, device: torch.device | str) -> Qrels:
        """The same judgements on another device."""
        grades = None if self.grades is None else self.grades.to(device)
        return Qrels(self.offsets.to(device), self.documents.to(device), grades)

    @cached_property
    def _width(self) -> int:
        return int(self.documents.max()) + 1 if len(self.documents) else 1

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor]:
        """Query and document of each judgement in one ascending number, and where it was."""
        keys = Ragged(self.offsets, self.documents).owners() * self._width + self.documents
        found = keys.sort()
        return found.values, found.indices


@dataclass(frozen=True, eq=False)
class Ranking:
    """What stands at which place for N queries, judged.

    Args:
        grades: (N, K) float32 grade of the document at each place; 0 where there is none or nobody judged it.
        offsets: (N + 1,) int64 offsets into `judged`.
        judged: (J,) float32 grades of all judged documents of each query, whether found or not.
        relevance_level: a document is relevant from this grade on; None: above 0. nDCG looks at grades alone.

    Raises:
        ValueError: for a relevance level of 0 or less, which unjudged documents would reach, or shapes that do not fit.
    """

    grades: Tensor
    offsets: Tensor
    judged: Tensor
    relevance_level: float | None = None

    def __post_init__(self) -> None:
        if self.relevance_level is not None and not self.relevance_level > 0:
            raise ValueError(
                f"relevance_level must be above 0, because unjudged documents have grade 0; got {self.relevance_level}"
            )
        if self.grades.ndim != 2 or self.offsets.shape != (len(self.grades) + 1,):
            raise ValueError(
                f"grades (N, K) need offsets (N + 1,), got {tuple(self.grades.shape)} and {tuple(self.offsets.shape)}"
            )

    @classmethod
    def of(cls, indices: Tensor, qrels: Qrels, relevance_level: float | None = None) -> Ranking:
        """Judge a search's result.

        Args:
            indices: (N, K) int64 rows of documents, best first; -1 for none.
            qrels: the judgements of the N queries.
            relevance_level: see `Ranking`.

        Raises:
            ValueError: when there are judgements for another number of queries, or a query ranks a document twice.
        """
        if indices.ndim != 2 or len(indices) != qrels.n_queries:
            raise ValueError(
                f"indices (N, K) of N = {qrels.n_queries} judged queries are needed, got {tuple(indices.shape)}"
            )
        ordered = indices.sort(dim=1).values
        twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).nonzero()
        if len(twice):
            query, column = (int(number) for number in twice[0])
            raise ValueError(
                f"query {query} ranks document {int(ordered[query, column])} twice; it would be counted twice"
            )
        qrels = qrels.to(indices.device)
        return cls(qrels.look_up(indices), qrels.offsets, qrels.values, relevance_level)

    @classmethod
    def of_groups(cls, indices: Tensor, groups: Tensor) -> Ranking:
        """Judge a search of N objects among themselves: relevant is what is of an object's group, but not itself.

        Args:
            indices: (N, K) int64 rows of objects, best first, their own left out; -1 for none.
            groups: (N,) int64.
        """
        alike = (groups[indices.clamp(min=0)] == groups[:, None]) & (indices >= 0)
        _, group, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
        return cls.of_hits(alike, (sizes - 1)[group])

    @classmethod
    def of_hits(cls, relevant: Tensor, n_relevant: Tensor) -> Ranking:
        """From what is relevant and what is not.

        Args:
            relevant: (N, K) bool: whether the document at a place is relevant.
            n_relevant: (N,) int64: how many documents are relevant to each query, found or not.
        """
        offsets = torch.cat([n_relevant.new_zeros(1), n_relevant.cumsum(0)])
        return cls(relevant.float(), offsets, torch.ones(int(offsets[-1]), device=relevant.device))

    @cached_property
    def relevant(self) -> Tensor:
        """(N, K) bool: whether the document at a place is relevant."""
        return self._is_relevant(self.grades)

    @cached_property
    def n_relevant(self) -> Tensor:
        """(N,) int64: how many documents are relevant, found or not."""
        return self._sum(self._is_relevant(self.judged).double()).long()

    def ideal_dcg(self, gains: Tensor, cutoff: int | None) -> Tensor:
        """(N,) float64: the discounted gains (J,) of a perfect ranking, down to a cut-off."""
        owners = self._owners
        order = gains.argsort(descending=True, stable=True)
        order = order[owners[order].argsort(stable=True)]
        place = torch.arange(len(gains), device=gains.device) - self.offsets[owners]
        discounted = gains[order].to(torch.float64) / torch.log2(place.double() + 2)
        return self._sum(discounted if cutoff is None else discounted * (place < cutoff))

    def _is_relevant(self, grades: Tensor) -> Tensor:
        return grades > 0 if self.relevance_level is None else grades >= self.relevance_level

    @cached_property
    def _owners(self) -> Tensor:
        return Ragged(self.offsets, self.judged).owners()

    def _sum(self, values: Tensor) -> Tensor:
        """The sum (N,) over the judgements of each query."""
        zeros = torch.zeros(len(self.grades), dtype=values.dtype, device=values.device)
        return zeros.index_add(0, self._owners, values)
