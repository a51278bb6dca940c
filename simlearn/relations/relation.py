"""One type for pairs, groups, rankings and label sets.

A `Relation` holds N queries and M documents. Two things are known of a query and a document: a *judgement* (a score
given for just these two), and what their groups, labels, subgroups and ids say. From both follow

* `positives`: judged above 0, or of one group, or with a label in common;
* `negatives`: judged 0 or less, or of two groups, or without a label in common; among what nobody judged, of two
  subgroups, and, where a loss takes the rest of the batch for negatives (`in_batch=True`), everything that is not known
  to be alike: not of one non-default subgroup. What is one object is no negative of itself, unless it was judged so.

Judgements hold for objects, not for rows: a query that appears twice in a batch shares them with its twin, so that no
object becomes a negative of what it was paired with. Of different judgements of the same two objects the highest holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from simlearn.distributed import is_distributed
from simlearn.ragged import entries
from simlearn.relations.gathered import RelationColumns, gather_columns
from simlearn.relations.judgements import PairJudgements
from simlearn.relations.kind import RelationKind
from simlearn.relations.masks import different, similar

ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Relation:
    """The similarity of N queries and M documents. Build it with one of the `from_...` methods.

    Args:
        kind: where it comes from.
        n_queries: N.
        n_documents: M.
        judged_queries: (J,) int64 rows of the judged queries, ascending, those of equal objects included.
        judged_documents: (J,) int64 rows of the judged documents.
        judged_scores: (J,) float32 scores of the judgements.
        scores: float32 as they were given: (N,) for `PAIRS`, (M,) for `RANKING`.
        groups: (M,) int64 for `GROUPS`, where the queries are the first N documents.
        label_offsets: (M + 1,) int64 for `LABELS`, where the queries are the first N documents: document j has
            `labels[label_offsets[j] : label_offsets[j + 1]]`.
        labels: (L,) int64.
        query_subgroups: (N,) int64: of two subgroups is different, of one alike, but 0 beside 0 says nothing.
        document_subgroups: (M,) int64.
        query_ids: (N,) int64; equal ids are one object.
        document_ids: (M,) int64, in the same space.
        document_log_q: (M,) float32, the logarithm of the probability with which each document is drawn into a batch.
        offsets: (N + 1,) int64 for `RANKING`: the candidates of query i are documents `offsets[i]` to `offsets[i + 1]`.
        one_space: whether queries and documents come from one tower, so that documents compare with documents too.
        judged_only: whether nothing is different but what was judged so, whatever a loss takes for negatives.
        shares: what each of W processes brought, (N, M) by rank, where all of them hold this same relation, having
            gathered it; they may share the work. Empty where it was not gathered.

    Raises:
        ValueError: when a column is not as long as there are queries or documents.
    """

    kind: RelationKind
    n_queries: int
    n_documents: int
    judged_queries: Tensor
    judged_documents: Tensor
    judged_scores: Tensor
    scores: Tensor | None = None
    groups: Tensor | None = None
    label_offsets: Tensor | None = None
    labels: Tensor | None = None
    query_subgroups: Tensor | None = None
    document_subgroups: Tensor | None = None
    query_ids: Tensor | None = None
    document_ids: Tensor | None = None
    document_log_q: Tensor | None = None
    offsets: Tensor | None = None
    one_space: bool = True
    judged_only: bool = False
    shares: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, size in (
            ("groups", self.n_documents),
            ("query_subgroups", self.n_queries),
            ("document_subgroups", self.n_documents),
            ("query_ids", self.n_queries),
            ("document_ids", self.n_documents),
            ("document_log_q", self.n_documents),
        ):
            column = getattr(self, name)
            if column is not None and column.shape != (size,):
                raise ValueError(f"{name} must have the shape ({size},), got {tuple(column.shape)}")
        if self.is_shared and self.n_queries > self.n_documents:
            raise ValueError(f"the {self.n_queries} queries must be the first of the {self.n_documents} documents")

    @classmethod
    def from_pairs(
        cls,
        scores: Tensor,
        subgroups: Tensor | tuple[Tensor, Tensor] | None = None,
        ids: tuple[Tensor, Tensor] | None = None,
    ) -> Relation:
        """Query i is judged against document i.

        Args:
            scores: (B,) scores.
            subgroups: (B,) for both sides or a tuple of two; None says nothing.
            ids: (B,) ids of the queries and of the documents.
        """
        size, scores = len(scores), scores.float()
        rows = torch.arange(size, device=scores.device)
        first, second = subgroups if isinstance(subgroups, tuple) else (subgroups, subgroups)
        if first is None or second is None or not bool(first.any() | second.any()):
            first = second = None  # nobody gave any, so losses need not compare them
        query_ids, document_ids = ids or (None, None)
        return cls(
            RelationKind.PAIRS,
            size,
            size,
            *PairJudgements(rows, rows, scores).close_over(query_ids, document_ids),
            scores=scores,
            query_subgroups=first,
            document_subgroups=second,
            query_ids=query_ids,
            document_ids=document_ids,
        )

    @classmethod
    def from_groups(cls, groups: Tensor, ids: Tensor | None = None) -> Relation:
        """N objects, each query and document at once; (N,) groups and ids."""
        none = PairJudgements.none(groups.device)
        size = len(groups)
        return cls(RelationKind.GROUPS, size, size, *none, groups=groups, query_ids=ids, document_ids=ids)

    @classmethod
    def from_labels(cls, offsets: Tensor, labels: Tensor, ids: Tensor | None = None) -> Relation:
        """N objects with any number of labels each: (N + 1,) offsets into (L,) labels.

        Raises:
            ValueError: when the offsets do not end at L.
        """
        if int(offsets[-1]) != len(labels):
            raise ValueError(f"the offsets must end at the number of labels, {len(labels)}, and end at {offsets[-1]}")
        return cls(
            RelationKind.LABELS,
            len(offsets) - 1,
            len(offsets) - 1,
            *PairJudgements.none(labels.device),
            label_offsets=offsets,
            labels=labels,
            query_ids=ids,
            document_ids=ids,
        )

    @classmethod
    def from_ranking(cls, offsets: Tensor, relevances: Tensor, ids: tuple[Tensor, Tensor] | None = None) -> Relation:
        """N queries with ragged candidates: (N + 1,) offsets into M documents with (M,) relevances.

        Raises:
            ValueError: when the offsets do not end at M.
        """
        size, scores, counts = len(relevances), relevances.float(), offsets.diff()
        queries = entries(counts).owners
        if len(queries) != size:
            raise ValueError(f"there are {size} relevances, and offsets for {len(queries)} documents")
        documents = torch.arange(size, device=offsets.device)
        query_ids, document_ids = ids or (None, None)
        return cls(
            RelationKind.RANKING,
            len(counts),
            size,
            *PairJudgements(queries, documents, scores).close_over(query_ids, document_ids),
            scores=scores,
            query_ids=query_ids,
            document_ids=document_ids,
            offsets=offsets,
        )

    @classmethod
    def from_matrix(cls, matrix: Tensor, ids: tuple[Tensor, Tensor] | None = None) -> Relation:
        """N queries and M documents, and a matrix that tells what is similar.

        Args:
            matrix: (N, M). Of bools: what is True is similar, what is not is different. Of floats: scores, as
                judgements; NaN says nothing. Sparse: what it stores is judged, and nothing is said of the rest. For N
                objects among themselves leave out the diagonal and give the same ids twice.
            ids: (N,) ids of the queries and (M,) of the documents.

        Raises:
            TypeError: for another dtype.
            ValueError: for another shape.
        """
        query_ids, document_ids = ids or (None, None)
        judgements = PairJudgements.of_matrix(matrix)  # which refuses all but two dimensions
        return cls(
            RelationKind.MATRIX,
            matrix.shape[0],
            matrix.shape[1],
            *judgements.close_over(query_ids, document_ids),
            query_ids=query_ids,
            document_ids=document_ids,
        )

    @property
    def is_shared(self) -> bool:
        """Whether the queries are the first documents, so that row i must not be compared with itself."""
        return self.kind in (RelationKind.GROUPS, RelationKind.LABELS)

    @property
    def copies(self) -> int:
        """How many processes hold this same relation."""
        return max(1, len(self.shares))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.judged_queries.device

    @property
    def judgements(self) -> PairJudgements:
        """What was judged."""
        return PairJudgements(self.judged_queries, self.judged_documents, self.judged_scores)

    def paired_scores(self) -> Tensor:
        """(N,) float32 score of query i with document i, as it was given; for `PAIRS`.

        Raises:
            ValueError: for another kind.
        """
        if self.kind is not RelationKind.PAIRS or self.scores is None:
            raise ValueError(f"a relation of {self.kind} has no score for each row")
        return self.scores

    def positives(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """Which documents are similar to which queries, as bools.

        Args:
            rows: which queries; a slice without a step.
            columns: which documents.

        Returns:
            A tile (len(rows), len(columns)).
        """
        return similar(self, *self._tile(rows, columns))

    def negatives(self, rows: slice = ALL, columns: slice = ALL, in_batch: bool = True) -> Tensor:
        """Which documents are different from which queries, as bools.

        Args:
            rows: which queries; a slice without a step.
            columns: which documents.
            in_batch: also take what nobody judged, unless it is known to be alike.

        Returns:
            A tile (len(rows), len(columns)).
        """
        return different(self, *self._tile(rows, columns), in_batch)

    def _tile(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """The same slices with their bounds written out."""
        top, bottom, _ = rows.indices(self.n_queries)
        left, right, _ = columns.indices(self.n_documents)
        return slice(top, max(top, bottom)), slice(left, max(left, right))

    def transposed(self) -> Relation:
        """The same knowledge with documents asking for queries; a ranking loses its order of candidates.

        Raises:
            ValueError: where the queries are only some of the documents.
        """
        if self.is_shared and self.n_queries < self.n_documents:
            raise ValueError(f"{self.n_queries} of {self.n_documents} objects ask, which has no transpose")
        queries, documents, scores = self.judgements.transposed()
        return replace(
            self,
            n_queries=self.n_documents,
            n_documents=self.n_queries,
            judged_queries=queries,
            judged_documents=documents,
            judged_scores=scores,
            query_subgroups=self.document_subgroups,
            document_subgroups=self.query_subgroups,
            query_ids=self.document_ids,
            document_ids=self.query_ids,
            document_log_q=None,
            scores=self.scores if self.kind is RelationKind.PAIRS else None,
            offsets=None,
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Relation:
        """The same relation on another device."""
        moved: dict[str, Any] = {
            name: column.to(device, non_blocking=non_blocking)
            for name, column in self._columns().items()
            if column is not None
        }
        return replace(self, **moved)

    def _columns(self) -> RelationColumns:
        return {name: getattr(self, name) for name in _COLUMNS}

    def gather(self) -> Relation:
        """The relation of the batches of all processes, by rank; itself where there is one process."""
        if not is_distributed():
            return self
        columns, shares = gather_columns(self._columns(), self.n_queries, self.n_documents)
        n_queries, n_documents = (sum(share[side] for share in shares) for side in (0, 1))
        whole: dict[str, Any] = {**columns, "n_queries": n_queries, "n_documents": n_documents}
        joined = replace(self, shares=shares, **whole)
        # An object may be in the batches of two processes.
        closed = joined.judgements.close_over(joined.query_ids, joined.document_ids)
        return replace(
            joined, judged_queries=closed.queries, judged_documents=closed.documents, judged_scores=closed.scores
        )


_COLUMNS = tuple(f.name for f in fields(Relation) if "Tensor" in str(f.type))

RelationCheck: TypeAlias = Callable[[Relation], None]
"""Raises ValueError for a relation that something cannot use."""
