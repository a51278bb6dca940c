"""Which objects share a label, for a tile of them at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.ragged import entries


def shares_label(offsets: Tensor, labels: Tensor, rows: slice, columns: slice) -> Tensor:
    """Whether two objects have a label in common, as a bool tile (len(rows), len(columns)).

    Only the labels of `rows` take part, so that what is kept grows with the tile and not with all labels of the data.

    Args:
        offsets: (N + 1,) int64: object i has the labels `labels[offsets[i]:offsets[i + 1]]`.
        labels: (L,) int64.
        rows: objects from `start` to `stop`, both given.
        columns: objects, likewise.
    """
    row_owners, row_labels = _entries(offsets, labels, rows)
    column_owners, column_labels = _entries(offsets, labels, columns)
    wanted, codes = torch.unique(row_labels, return_inverse=True)
    tile = torch.zeros(rows.stop - rows.start, columns.stop - columns.start, dtype=torch.bool, device=labels.device)
    if not len(wanted):
        return tile
    column_codes = torch.searchsorted(wanted, column_labels).clamp(max=len(wanted) - 1)
    known = wanted[column_codes] == column_labels
    first = _members(row_owners, codes, (tile.shape[0], len(wanted)))
    second = _members(column_owners[known], column_codes[known], (tile.shape[1], len(wanted)))
    return (first @ second.T) > 0


def _entries(offsets: Tensor, labels: Tensor, objects: slice) -> tuple[Tensor, Tensor]:
    """The labels of some objects, and to which of them each belongs."""
    bounds = offsets[objects.start : objects.stop + 1]
    return entries(bounds.diff()).owners, labels[int(bounds[0]) : int(bounds[-1])]


def _members(owners: Tensor, codes: Tensor, shape: tuple[int, int]) -> Tensor:
    members = torch.zeros(shape, device=owners.device)
    members[owners, codes] = 1.0
    return members
