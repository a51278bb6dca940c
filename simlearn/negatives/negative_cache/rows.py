"""Where documents are, by their ids: without a matrix of all against all, and without a table beside the tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.ragged import entries


def last_of_each(ids: Tensor) -> Tensor:
    """The places of the last of each id (M,), ascending."""
    distinct, of = torch.unique(ids, return_inverse=True)
    places = torch.arange(len(ids), device=ids.device)
    last = torch.full((len(distinct),), -1, device=ids.device).scatter_reduce(0, of, places, "amax")
    return last.sort().values


def rows_of_ids(known: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
    """The row of each id (M,) among known distinct ones (K,), −1 where it is not there.

    Args:
        known: (K,) int64, distinct.
        ids: (M,) int64.
        rows: (K,) what the rows are called; None for their numbers.
    """
    if not len(known):
        return torch.full_like(ids, -1)
    ascending, order = known.sort() if len(known) < len(ids) else (known, None)
    if order is None:  # many are known: look for each of them among the few
        few, places = torch.unique(ids, return_inverse=True)
        found = torch.full_like(few, -1)
        at = torch.searchsorted(few, known).clamp_(max=len(few) - 1)
        hits = (few[at] == known).nonzero()[:, 0]
        found[at[hits]] = hits
        found = found[places]
    else:
        at = torch.searchsorted(ascending, ids).clamp_(max=len(known) - 1)
        found = torch.where(ascending[at] == ids, order[at], -1)
    if rows is None:
        return found
    return torch.where(found < 0, -1, rows[found.clamp(min=0)])


def cells_of_ids(known: Tensor, pairs: Tensor) -> Tensor:
    """(2, C): the queries and rows of all pairs (2, J) of a query and an id that is among known ones (K,)."""
    queries, ids = pairs
    if not len(ids) or not len(known):
        return pairs[:, :0]
    ascending, order = ids.sort()
    first = torch.searchsorted(ascending, known)
    counts = torch.searchsorted(ascending, known, right=True) - first
    hits = counts.nonzero()[:, 0]
    owners, turns = entries(counts[hits])
    return torch.stack([queries[order[first[hits][owners] + turns]], hits[owners]])
