"""Judgements: what was said of single queries and documents, and for whom else it holds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.ragged import entries


class PairJudgements(NamedTuple):
    """J scores of a query and a document each.

    Args:
        queries: (J,) int64 rows of the judged queries.
        documents: (J,) int64 rows of the judged documents.
        scores: (J,) float32.
    """

    queries: Tensor
    documents: Tensor
    scores: Tensor

    @classmethod
    def none(cls, device: torch.device) -> PairJudgements:
        """Nothing is judged."""
        rows = torch.empty(0, dtype=torch.long, device=device)
        return cls(rows, rows, torch.empty(0, device=device))

    @classmethod
    def of_matrix(cls, matrix: Tensor) -> PairJudgements:
        """What a matrix (N, M) says; see `Relation.from_matrix`.

        Raises:
            TypeError: for another dtype than bool and floats.
            ValueError: for another shape.
        """
        if matrix.ndim != 2:
            raise ValueError(f"a relation takes a matrix (N, M) of queries and documents, got {tuple(matrix.shape)}")
        if matrix.dtype is not torch.bool and not matrix.is_floating_point():
            raise TypeError(
                f"a relation takes a matrix of bools (similar or not) or of floats (scores), got {matrix.dtype}; "
                "write matrix.bool() or matrix.float()"
            )
        if matrix.layout is not torch.strided:
            entries = matrix.to_sparse(layout=torch.sparse_coo).coalesce()
            rows, scores = entries.indices(), entries.values().float()
            known = ~scores.isnan()
            return cls(rows[0][known], rows[1][known], scores[known])
        queries, documents = (matrix if matrix.dtype is torch.bool else ~matrix.isnan()).nonzero(as_tuple=True)
        return cls(queries, documents, matrix[queries, documents].float())

    def close_over(self, query_ids: Tensor | None, document_ids: Tensor | None) -> PairJudgements:
        """Extend the judgements from rows to all rows of the same objects; where several meet, the highest score stays.

        Args:
            query_ids: (N,) equal for rows of one object; None where the rows are not known to repeat any.
            document_ids: (M,)

        Returns:
            Judgements by query and document ascending, none of them twice.
        """
        if query_ids is None or document_ids is None:
            return self
        rows, columns = _Twins.of(query_ids), _Twins.of(document_ids)
        if rows.is_trivial and columns.is_trivial:
            return self
        row_object, column_object = rows.object_of[self.queries], columns.object_of[self.documents]
        width = columns.counts[column_object]
        copies = rows.counts[row_object] * width
        # One entry for every copy of every judgement: `judgement` is its number, `within` counts its copies.
        judgement, within = entries(copies)
        width = width[judgement]
        queries = rows.order[rows.starts[row_object[judgement]] + within.div(width, rounding_mode="floor")]
        documents = columns.order[columns.starts[column_object[judgement]] + within % width]
        cells, cell_of = torch.unique(queries * len(document_ids) + documents, return_inverse=True)
        best = self.scores.new_full((len(cells),), -torch.inf)
        best = best.scatter_reduce(0, cell_of, self.scores[judgement], reduce="amax")
        return PairJudgements(cells.div(len(document_ids), rounding_mode="floor"), cells % len(document_ids), best)

    def transposed(self) -> PairJudgements:
        """Documents as queries and queries as documents, by the new queries ascending."""
        return PairJudgements(self.documents, self.queries, self.scores).by_query()

    def by_query(self) -> PairJudgements:
        """The same, by their queries ascending."""
        order = torch.argsort(self.queries, stable=True)
        return PairJudgements(self.queries[order], self.documents[order], self.scores[order])

    def tile(self, values: Tensor, rows: slice, columns: slice, elsewhere: Tensor | None = None) -> Tensor:
        """A tile (len(rows), len(columns)) of bools: `values` (J,) where there is a judgement.

        Args:
            values: (J,) bool.
            rows: queries from `start` to `stop`, both given.
            columns: documents, likewise.
            elsewhere: the same tile for what nobody judged; None is False.
        """
        height, width = rows.stop - rows.start, columns.stop - columns.start
        # What lies outside of the tile goes to one cell behind it: choosing would make a GPU wait for the count.
        cells = torch.zeros(height * width + 1, dtype=torch.bool, device=values.device)
        tile = cells[:-1].view(height, width)
        if elsewhere is not None:
            tile.copy_(elsewhere)
        query, document = self.queries - rows.start, self.documents - columns.start
        inside = (query >= 0) & (query < height) & (document >= 0) & (document < width)
        cells.scatter_(0, torch.where(inside, query * width + document, height * width), values)
        return tile


class _Twins(NamedTuple):
    """Which of N rows show the same object.

    Args:
        object_of: (N,) the object of each row, from 0.
        counts: (objects,) how many rows show it.
        starts: (objects,) where its rows start in `order`.
        order: (N,) rows, object by object.
    """

    object_of: Tensor
    counts: Tensor
    starts: Tensor
    order: Tensor

    @classmethod
    def of(cls, ids: Tensor) -> _Twins:
        _, object_of, counts = torch.unique(ids, return_inverse=True, return_counts=True)
        return cls(object_of, counts, counts.cumsum(0) - counts, torch.argsort(object_of, stable=True))

    @property
    def is_trivial(self) -> bool:
        """Whether every row shows an object of its own."""
        return len(self.counts) == len(self.object_of)
