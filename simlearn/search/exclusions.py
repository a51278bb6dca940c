"""Which documents a query must not find: its own row, those with its id, those it is known to match."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.ragged import Ragged, entries


class Exclusions:
    """Pairs of a query and a document that are left out, listed tile by tile.

    They are few beside all pairs, so they are listed and not compared one by one.

    Args:
        n_queries: N.
        n_documents: M; None where it is not known beforehand.
        device: where the scores are.
        own_row: whether query i is document i.
        ids: (N,) ids of the queries and (M,) ids of the documents, int64; equal ids are left out.
        lists: documents to leave out for each query.

    Raises:
        ValueError: when the shapes do not fit.
    """

    def __init__(
        self,
        n_queries: int,
        n_documents: int | None,
        device: torch.device,
        own_row: bool = False,
        ids: tuple[Tensor, Tensor] | None = None,
        lists: Ragged | tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self._own_row = own_row
        self._ids: tuple[Tensor, Tensor] | None = None
        self._entries: tuple[Tensor, Tensor] | None = None
        if own_row and n_documents is not None and n_documents < n_queries:
            raise ValueError(
                f"exclude_self means that query i is document i, but there are {n_queries} queries and "
                f"{n_documents} documents; exclude_ids leaves out by id"
            )
        if ids is not None:
            for ids_of_one, size, name in ((ids[0], n_queries, "query"), (ids[1], n_documents, "document")):
                if ids_of_one.ndim != 1 or (size is not None and len(ids_of_one) != size):
                    raise ValueError(f"{name} ids must have the shape ({size},), got {tuple(ids_of_one.shape)}")
            self._ids = ids[0].to(device), ids[1].to(device)
        if lists is not None:
            ragged = Ragged.of(lists)
            ragged.check_rows("exclude_rows", n_queries, n_documents)
            self._entries = ragged.owners().to(device), ragged.values.to(device)
            self._offsets: list[int] = ragged.offsets.tolist()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left out."""
        return not self._own_row and self._ids is None and self._entries is None

    @property
    def n_documents(self) -> int | None:
        """How many documents the ids are for; None without ids."""
        return None if self._ids is None else len(self._ids[1])

    def apply(self, scores: Tensor, rows: slice, columns: slice) -> None:
        """Set to -inf what is left out of a tile (r, C), in place; the slices have both bounds."""
        if not self.is_empty:
            query, document = self.pairs(rows, columns)
            scores[query, document] = -torch.inf

    def pairs(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        """What is left out of a tile: (J,) queries and documents, counted from its corner; some may appear twice."""
        parts = [self._equal_ids(rows, columns), self._listed(rows, columns)]
        if self._own_row:
            start = max(rows.start, columns.start)
            same = torch.arange(start, max(start, min(rows.stop, columns.stop)))
            parts.append((same - rows.start, same - columns.start))
        found = [part for part in parts if part is not None]
        device = found[0][0].device
        return torch.cat([part[0].to(device) for part in found]), torch.cat([part[1].to(device) for part in found])

    def _equal_ids(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor] | None:
        if self._ids is None:
            return None
        query_ids, order = self._ids[0][rows].sort()
        document_ids = self._ids[1][columns]
        first = torch.searchsorted(query_ids, document_ids)
        counts = torch.searchsorted(query_ids, document_ids, right=True) - first
        document, place = entries(counts)
        return order[first[document] + place], document

    def _listed(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor] | None:
        if self._entries is None:
            return None
        mine = slice(self._offsets[rows.start], self._offsets[rows.stop])
        query, document = self._entries[0][mine] - rows.start, self._entries[1][mine] - columns.start
        inside = (document >= 0) & (document < columns.stop - columns.start)
        return query[inside], document[inside]
