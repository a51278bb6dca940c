"""The k best documents of each query so far, and how a tile of new scores gets in."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.search.keys import NOTHING, pack, unpack_places, unpack_scores
from simlearn.search.neighbours import Neighbours

_LOWEST = torch.finfo(torch.float32).min

# When more than this many times k scores a query pass its threshold, the threshold is raised before they are sorted in.
_CROWD = 4


class Best:
    """Keeps the k best of everything it is offered.

    A new score is compared with the query's k-th best, which most lose: only the few that pass are sorted in.

    Args:
        n_queries: N.
        k: how many to keep.
        places: (M,) int64 the place of each document among equals; None when that is its row, which lets a later
            document that ties with the k-th best be dropped at once.
        device: where the scores are.
    """

    def __init__(self, n_queries: int, k: int, places: Tensor | None, device: torch.device) -> None:
        self.k = k
        self._keys = torch.full((n_queries, k), NOTHING, dtype=torch.long, device=device)
        self._floors = torch.full((n_queries,), -torch.inf, device=device)
        self._places = places

    def offer(self, rows: slice, scores: Tensor, highest: Tensor, first: int) -> None:
        """Offer a tile.

        Args:
            rows: which queries.
            scores: (r, C) float32 contiguous; -inf for what must not be found.
            highest: (r,) of each row, or more.
            first: the row of the tile's first document; tiles come in ascending order.
        """
        floors, width = self._floors[rows], scores.shape[1]
        # The least score that gets in; nextafter takes -inf to the lowest finite number, so -inf never does.
        floors = floors.clamp(min=_LOWEST) if self._places is not None else _next_above(floors)
        open_to = (highest >= floors).nonzero().view(-1)
        if 2 * len(open_to) < len(scores):  # most rows have nothing to offer, and are not looked at again
            scores, floors = scores[open_to], floors[open_to]
        else:
            open_to = torch.arange(len(scores), device=scores.device)
        passed = scores >= floors[:, None]
        if int(passed.count_nonzero()) > _CROWD * self.k * len(scores):  # a crowd's positions would take whole tiles
            kth = scores.topk(min(self.k, width), dim=1, sorted=False).values.amin(1)
            passed = scores >= floors.maximum(kth)[:, None]
        hits = _positions(passed.view(-1))
        if not len(hits):
            return
        row = hits.div(width, rounding_mode="floor")
        self._sort_in(rows, open_to[row], scores.view(-1)[hits], hits - row * width + first)

    def offer_found(self, rows: slice, scores: Tensor, documents: Tensor) -> None:
        """Offer what something else found.

        Args:
            rows: which queries.
            scores: (r, C) float32; -inf for nothing.
            documents: (r, C) int64 rows of documents.
        """
        query, column = (scores > -torch.inf).nonzero(as_tuple=True)
        if len(query):
            self._sort_in(rows, query, scores[query, column], documents[query, column])

    def result(self) -> Neighbours:
        """The best, sorted."""
        keys = self._keys.sort(dim=1, descending=True).values
        scores, places = unpack_scores(keys), unpack_places(keys)
        nothing = keys == NOTHING
        if self._places is not None:
            row_at = torch.empty_like(self._places)
            row_at[self._places] = torch.arange(len(row_at), device=row_at.device)
            places = row_at[places.masked_fill(nothing, 0)]
        return Neighbours(scores, places.masked_fill(nothing, -1))

    def _sort_in(self, rows: slice, query: Tensor, scores: Tensor, documents: Tensor) -> None:
        """Sort in flat (J,) scores of documents, those of one query beside each other, the queries ascending."""
        keys = self._keys[rows]
        counts = torch.bincount(query, minlength=len(keys))
        within = torch.arange(len(query), device=query.device) - (counts.cumsum(0) - counts)[query]
        joined = keys.new_full((len(keys), self.k + int(counts.max())), NOTHING)
        joined[:, : self.k] = keys
        joined[query, self.k + within] = pack(scores, documents if self._places is None else self._places[documents])
        best = joined.topk(self.k, dim=1, sorted=False).values
        self._keys[rows] = best
        self._floors[rows] = unpack_scores(best.amin(1))


def _next_above(floors: Tensor) -> Tensor:
    return torch.nextafter(floors, torch.full_like(floors, torch.inf))


def _positions(passed: Tensor) -> Tensor:
    """(J,) where bools (n,) are True."""
    if passed.numel() % 8:
        return passed.nonzero().view(-1)
    # Few pass: eight booleans are looked at as one integer, and only integers that are not 0 are taken apart.
    words = passed.view(torch.int64).nonzero().view(-1)
    word, byte = passed.view(-1, 8)[words].nonzero(as_tuple=True)
    return words[word] * 8 + byte
