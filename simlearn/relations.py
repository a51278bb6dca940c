"""What is similar to what: one type for pairs, groups, rankings and label sets.

A `Relation` holds N queries and M documents. Two things are known of a query and a document: a *judgement* (a score given
for just these two), and what their groups, subgroups and ids say. From both follow

* `positives`: judged above 0, or of one group, or with a label in common;
* `negatives`: judged 0 or less, or of two groups, no label in common, or two subgroups; and, where a loss takes the rest of
  the batch for negatives (`in_batch=True`), everything else that is not known to be alike: not of one non-default subgroup,
  and not the same object.

Judgements hold for objects, not for rows: a query that appears twice in a batch shares them with its twin, so that no
object becomes a negative of what it was paired with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.distributed import gather, rank


class RelationKind(str, Enum):
    """Where a relation comes from; losses say which kinds they take."""

    PAIRS = "pairs"
    GROUPS = "groups"
    RANKING = "ranking"
    LABELS = "labels"

    def __str__(self) -> str:
        return self.value


ALL = slice(None)


@dataclass(frozen=True)
class Relation:
    """The similarity of N queries and M documents. Build it with one of the `from_...` methods.

    Args:
        kind: where it comes from.
        n_queries: N.
        n_documents: M.
        judged_queries: (J,) int64 rows of the judged queries, ascending.
        judged_documents: (J,) int64 rows of the judged documents.
        scores: (J,) float32 scores of the judgements.
        groups: (N,) int64 for `GROUPS`, where queries and documents are the same rows.
        label_offsets: (N + 1,) int64 for `LABELS`: object i has the labels `labels[label_offsets[i]:label_offsets[i + 1]]`.
        labels: (L,) int64.
        query_subgroups: (N,) int64, 0 saying nothing.
        document_subgroups: (M,) int64.
        query_ids: (N,) int64; equal ids are one object.
        document_ids: (M,) int64, in the same space.
        offsets: (N + 1,) int64 for `RANKING`: the candidates of query i are the documents `offsets[i]` to `offsets[i + 1]`.
        one_space: whether queries and documents come from one tower, so that documents compare with documents too.
    """

    kind: RelationKind
    n_queries: int
    n_documents: int
    judged_queries: Tensor
    judged_documents: Tensor
    scores: Tensor
    groups: Tensor | None = None
    label_offsets: Tensor | None = None
    labels: Tensor | None = None
    query_subgroups: Tensor | None = None
    document_subgroups: Tensor | None = None
    query_ids: Tensor | None = None
    document_ids: Tensor | None = None
    offsets: Tensor | None = None
    one_space: bool = True

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
        size = len(scores)
        rows = torch.arange(size, device=scores.device)
        query_subgroups, document_subgroups = subgroups if isinstance(subgroups, tuple) else (subgroups, subgroups)
        query_ids, document_ids = ids or (None, None)
        return cls(
            RelationKind.PAIRS,
            size,
            size,
            *_close_over_ids(rows, rows, scores.float(), query_ids, document_ids),
            query_subgroups=query_subgroups,
            document_subgroups=document_subgroups,
            query_ids=query_ids,
            document_ids=document_ids,
        )

    @classmethod
    def from_groups(cls, groups: Tensor, ids: Tensor | None = None) -> Relation:
        """N objects, each query and document at once; (N,) groups and ids."""
        size = len(groups)
        return cls(
            RelationKind.GROUPS,
            size,
            size,
            *_no_judgements(groups.device),
            groups=groups,
            query_ids=ids,
            document_ids=ids,
        )

    @classmethod
    def from_labels(cls, offsets: Tensor, labels: Tensor, ids: Tensor | None = None) -> Relation:
        """N objects with any number of labels each: (N + 1,) offsets into (L,) labels."""
        size = len(offsets) - 1
        return cls(
            RelationKind.LABELS,
            size,
            size,
            *_no_judgements(labels.device),
            label_offsets=offsets,
            labels=labels,
            query_ids=ids,
            document_ids=ids,
        )

    @classmethod
    def from_ranking(cls, offsets: Tensor, relevances: Tensor, ids: tuple[Tensor, Tensor] | None = None) -> Relation:
        """N queries with ragged candidates: (N + 1,) offsets into M documents with (M,) relevances."""
        counts = offsets.diff()
        queries = torch.repeat_interleave(torch.arange(len(counts), device=offsets.device), counts)
        documents = torch.arange(len(relevances), device=offsets.device)
        query_ids, document_ids = ids or (None, None)
        return cls(
            RelationKind.RANKING,
            len(counts),
            len(relevances),
            *_close_over_ids(queries, documents, relevances.float(), query_ids, document_ids),
            query_ids=query_ids,
            document_ids=document_ids,
            offsets=offsets,
        )

    @property
    def is_shared(self) -> bool:
        """Whether queries and documents are the same rows, so that row i must not be compared with itself."""
        return self.kind in (RelationKind.GROUPS, RelationKind.LABELS)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.judged_queries.device

    def positives(self, rows: slice = ALL, columns: slice = ALL) -> Tensor:
        """Which documents are similar to which queries: a bool tile (len(rows), len(columns))."""
        if self.groups is not None:
            mask = self.groups[rows, None] == self.groups[None, columns]
        elif self.labels is not None:
            mask = self._shares_label(rows, columns)
        else:
            return self._judged(self.scores > 0, rows, columns)
        return mask & ~self._same_row(rows, columns)

    def negatives(self, rows: slice = ALL, columns: slice = ALL, in_batch: bool = True) -> Tensor:
        """Which documents are different from which queries: a bool tile (len(rows), len(columns)).

        Args:
            rows: which queries.
            columns: which documents.
            in_batch: also take what nobody judged, unless it is known to be alike. Groups and labels leave nothing unjudged.
        """
        if self.groups is not None:
            mask = self.groups[rows, None] != self.groups[None, columns]
        elif self.labels is not None:
            mask = ~self._shares_label(rows, columns)
        else:
            return self._judged(self.scores <= 0, rows, columns) | self._unjudged_negatives(rows, columns, in_batch)
        return mask & ~self._same_object(rows, columns)

    def _unjudged_negatives(self, rows: slice, columns: slice, in_batch: bool) -> Tensor:
        alike = self._judged(torch.ones_like(self.scores, dtype=torch.bool), rows, columns)
        alike = alike | self._same_object(rows, columns)
        if self.query_subgroups is None or self.document_subgroups is None:
            return ~alike if in_batch else torch.zeros_like(alike)
        queries, documents = self.query_subgroups[rows, None], self.document_subgroups[None, columns]
        if not in_batch:
            return (queries != documents) & ~alike
        return ~alike & ~((queries == documents) & (queries != 0))

    def _judged(self, which: Tensor, rows: slice, columns: slice) -> Tensor:
        """The judgements for which `which` (J,) holds, as a tile."""
        top, bottom, _ = rows.indices(self.n_queries)
        left, right, _ = columns.indices(self.n_documents)
        queries, documents = self.judged_queries, self.judged_documents
        inside = which & (queries >= top) & (queries < bottom) & (documents >= left) & (documents < right)
        tile = torch.zeros(bottom - top, right - left, dtype=torch.uint8, device=self.device)
        # Writing a value into a fixed shape, where boolean indexing would have to wait for the GPU to count.
        flat = (queries - top).clamp(0, max(bottom - top - 1, 0)) * (right - left)
        flat = flat + (documents - left).clamp(0, max(right - left - 1, 0))
        if tile.numel():
            tile.view(-1).scatter_reduce_(0, flat, inside.to(torch.uint8), reduce="amax")
        return tile.bool()

    def _shares_label(self, rows: slice, columns: slice) -> Tensor:
        members = self.label_matrix()
        return (members[rows] @ members[columns].T) > 0

    def paired_scores(self) -> Tensor:
        """(N,) score of query i with document i, for `PAIRS`."""
        if self.kind is not RelationKind.PAIRS:
            raise ValueError(f"a relation of {self.kind} has no score for each row")
        return self.scores[self.judged_queries == self.judged_documents]

    def label_matrix(self) -> Tensor:
        """(N, distinct labels) float32 0/1 membership, the labels ascending."""
        if self.labels is None or self.label_offsets is None:
            raise ValueError(f"a relation of {self.kind} has no labels")
        distinct, codes = torch.unique(self.labels, return_inverse=True)
        owners = torch.repeat_interleave(torch.arange(self.n_queries, device=self.device), self.label_offsets.diff())
        members = torch.zeros(self.n_queries, len(distinct), device=self.device)
        return members.index_put((owners, codes), torch.ones((), device=self.device))

    def _same_row(self, rows: slice, columns: slice) -> Tensor:
        """The diagonal where queries and documents are the same rows."""
        queries = torch.arange(self.n_queries, device=self.device)[rows]
        documents = torch.arange(self.n_documents, device=self.device)[columns]
        return (queries[:, None] == documents[None, :]) & self.is_shared

    def _same_object(self, rows: slice, columns: slice) -> Tensor:
        """Where query and document are one object: the same row, or equal ids."""
        same = self._same_row(rows, columns)
        if self.query_ids is None or self.document_ids is None:
            return same
        return same | (self.query_ids[rows, None] == self.document_ids[None, columns])

    def transposed(self) -> Relation:
        """The same knowledge with documents asking for queries."""
        order = torch.argsort(self.judged_documents, stable=True)
        return replace(
            self,
            n_queries=self.n_documents,
            n_documents=self.n_queries,
            judged_queries=self.judged_documents[order],
            judged_documents=self.judged_queries[order],
            scores=self.scores[order],
            query_subgroups=self.document_subgroups,
            document_subgroups=self.query_subgroups,
            query_ids=self.document_ids,
            document_ids=self.query_ids,
            offsets=None,
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Relation:
        """The same relation on another device."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self._tensors().items()}
        return replace(self, **moved)  # type: ignore[arg-type]

    def _tensors(self) -> dict[str, Tensor]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def gather(self) -> Relation:
        """The relation of the batches of all processes, in the order of their ranks."""
        sizes = gather(torch.tensor([[self.n_queries, self.n_documents]], device=self.device))
        queries_before, documents_before = (int(size) for size in sizes[: rank()].sum(0))
        joined = {name: gather(value) for name, value in self._tensors().items() if not name.endswith("offsets")}
        joined["judged_queries"] = gather(self.judged_queries + queries_before)
        joined["judged_documents"] = gather(self.judged_documents + documents_before)
        for name in ("offsets", "label_offsets"):
            if (offsets := getattr(self, name)) is not None:
                counts = gather(offsets.diff())
                joined[name] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        closed = _close_over_ids(
            joined["judged_queries"],
            joined["judged_documents"],
            joined["scores"],
            joined.get("query_ids"),
            joined.get("document_ids"),
        )
        joined |= dict(zip(("judged_queries", "judged_documents", "scores"), closed, strict=True))
        n_queries, n_documents = (int(size) for size in sizes.sum(0))
        return replace(self, n_queries=n_queries, n_documents=n_documents, **joined)  # type: ignore[arg-type]


RelationCheck: TypeAlias = Callable[[Relation], None]
"""Raises ValueError for a relation that something cannot use."""


def _no_judgements(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    none = torch.empty(0, dtype=torch.long, device=device)
    return none, none, torch.empty(0, device=device)


def _close_over_ids(
    queries: Tensor, documents: Tensor, scores: Tensor, query_ids: Tensor | None, document_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Extend judgements from rows to all rows of the same objects; of several for two rows the highest score stays.

    Args:
        queries: (J,) judged rows.
        documents: (J,) judged columns.
        scores: (J,) scores.
        query_ids: (N,) or None.
        document_ids: (M,) or None.

    Returns:
        Rows, columns and scores, by row and column ascending, without repetition.
    """
    if query_ids is None or document_ids is None or not len(queries):
        return queries, documents, scores
    row_twins, row_class = _twins(query_ids)
    column_twins, column_class = _twins(document_ids)
    (row_order, row_start, row_count), (column_order, column_start, column_count) = row_twins, column_twins
    rows_of, columns_of = row_class[queries], column_class[documents]
    heights, widths = row_count[rows_of], column_count[columns_of]
    copies = heights * widths
    judgement = torch.repeat_interleave(torch.arange(len(queries), device=queries.device), copies)
    within = torch.arange(len(judgement), device=queries.device) - (copies.cumsum(0) - copies)[judgement]
    width = widths[judgement]
    queries = row_order[row_start[rows_of[judgement]] + within.div(width, rounding_mode="floor")]
    documents = column_order[column_start[columns_of[judgement]] + within % width]
    scores = scores[judgement]
    cells, inverse = torch.unique(queries * len(document_ids) + documents, return_inverse=True)
    best = scores.new_full((len(cells),), -torch.inf).scatter_reduce(0, inverse, scores, reduce="amax")
    return cells.div(len(document_ids), rounding_mode="floor"), cells % len(document_ids), best


def _twins(ids: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Rows ordered by object, the start and count of each object's rows in that order, and each row's object."""
    _, classes, counts = torch.unique(ids, return_inverse=True, return_counts=True)
    return (torch.argsort(classes, stable=True), counts.cumsum(0) - counts, counts), classes
