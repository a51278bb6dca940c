"""Judgements: what was said of single queries and documents, and for whom else it holds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Judgements(NamedTuple):
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
    def none(cls, device: torch.device) -> Judgements:
        """Nothing is judged."""
        rows = torch.empty(0, dtype=torch.long, device=device)
        return cls(rows, rows, torch.empty(0, device=device))

    def close_over(self, query_ids: Tensor | None, document_ids: Tensor | None) -> Judgements:
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
        judgement = torch.repeat_interleave(torch.arange(len(copies), device=copies.device), copies)
        within = torch.arange(len(judgement), device=copies.device) - (copies.cumsum(0) - copies)[judgement]
        width = width[judgement]
        queries = rows.order[rows.starts[row_object[judgement]] + within.div(width, rounding_mode="floor")]
        documents = columns.order[columns.starts[column_object[judgement]] + within % width]
        cells, cell_of = torch.unique(queries * len(document_ids) + documents, return_inverse=True)
        best = self.scores.new_full((len(cells),), -torch.inf)
        best = best.scatter_reduce(0, cell_of, self.scores[judgement], reduce="amax")
        return Judgements(cells.div(len(document_ids), rounding_mode="floor"), cells % len(document_ids), best)

    def transposed(self) -> Judgements:
        """Documents as queries and queries as documents, by the new queries ascending."""
        order = torch.argsort(self.documents, stable=True)
        return Judgements(self.documents[order], self.queries[order], self.scores[order])

    def tile(self, which: Tensor, rows: slice, columns: slice) -> Tensor:
        """Where in a tile (len(rows), len(columns)) lies a judgement for which `which` (J,) holds, as bools.

        Args:
            which: (J,) bool.
            rows: queries from `start` to `stop`, both given.
            columns: documents, likewise.
        """
        height, width = rows.stop - rows.start, columns.stop - columns.start
        tile = torch.zeros(height * width, dtype=torch.uint8, device=which.device)
        if len(tile):
            query, document = self.queries - rows.start, self.documents - columns.start
            inside = which & (query >= 0) & (query < height) & (document >= 0) & (document < width)
            # A maximum over a fixed shape, where boolean indexing would have to wait for the GPU to count.
            cell = query.clamp(0, height - 1) * width + document.clamp(0, width - 1)
            tile.scatter_reduce_(0, cell, inside.to(torch.uint8), reduce="amax")
        return tile.bool().view(height, width)


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
