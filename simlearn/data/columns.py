"""Labels as columns: what is known of many samples, without their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """Several values a sample: those of sample i are `values[offsets[i]:offsets[i + 1]]`.

    Args:
        values: (L,) or (L, ...).
        offsets: (N + 1,) int64, from 0 to L.
    """

    values: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @staticmethod
    def of(rows: Sequence[Sequence[float]], dtype: torch.dtype) -> Ragged:
        """From one sequence a sample."""
        values = torch.tensor([value for row in rows for value in row], dtype=dtype)
        return Ragged.of_counts(values, [len(row) for row in rows])

    @staticmethod
    def of_counts(values: Tensor, counts: Sequence[int]) -> Ragged:
        """From the values of all samples and how many each of them has."""
        return Ragged(values, _offsets(torch.tensor(counts, dtype=torch.long)))

    def take(self, rows: Tensor) -> Ragged:
        """The given samples, in the given order."""
        starts, counts = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = _offsets(counts)
        within = torch.arange(int(offsets[-1])) - torch.repeat_interleave(offsets[:-1], counts)
        return Ragged(self.values[torch.repeat_interleave(starts, counts) + within], offsets)


Column: TypeAlias = "Tensor | Ragged"
Columns: TypeAlias = dict[str, Column]
"""Columns by name, each with one entry, or one list of values, a sample."""


def take(columns: Columns, rows: Tensor) -> Columns:
    """The given samples of every column."""
    return {
        name: column.take(rows) if isinstance(column, Ragged) else column.index_select(0, rows)
        for name, column in columns.items()
    }


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The samples of all parts, one part after the other."""
    return {name: join([part[name] for part in parts]) for name in parts[0]}


def join(columns: Sequence[Column]) -> Column:
    """One column after the other."""
    ragged = [column for column in columns if isinstance(column, Ragged)]
    if not ragged:
        return torch.cat([column for column in columns if isinstance(column, Tensor)])
    counts = torch.cat([column.offsets.diff() for column in ragged])
    return Ragged(torch.cat([column.values for column in ragged]), _offsets(counts))


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
