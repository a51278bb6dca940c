"""Labels as columns: what is known of many samples, without their objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.ragged import Ragged

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
    return Ragged.concatenate(ragged)
