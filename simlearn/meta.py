"""Facts about single objects that travel beside their embeddings to the head, as columns.

An encoder may extract a dictionary per object (which branch encoded it, how many tokens it had). One Python dictionary
per object on the hot path costs more than the head itself, so they become columns once: numbers a tensor, strings
integer codes with the tuple of the names they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Categories:
    """A column of names: `codes` (N,) int64 index into `names`."""

    codes: Tensor
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Categories:
        """The same column on another device."""
        return Categories(self.codes.to(device, non_blocking=non_blocking), self.names)

    def index_select(self, rows: Tensor) -> Categories:
        """The given rows, in the given order."""
        return Categories(self.codes.index_select(0, rows.to(self.codes.device)), self.names)

    def rename(self, names: Sequence[str]) -> Tensor:
        """Codes (N,) that index into `names` instead.

        Raises:
            ValueError: when a row holds a name that `names` lacks.
        """
        number = {name: position for position, name in enumerate(names)}
        table = [number.get(name, -1) for name in self.names]
        codes = torch.tensor(table, dtype=torch.long, device=self.codes.device)[self.codes] if table else self.codes
        if -1 in table and bool((codes < 0).any()):  # looked at only where needed: a GPU would have to be waited for
            unknown = sorted({self.names[int(code)] for code in self.codes[codes < 0]})
            raise ValueError(f"unknown names {unknown}; known are {list(names)}")
        return codes


Column: TypeAlias = "Tensor | Categories"
Meta: TypeAlias = dict[str, Column]
"""Columns by name, each with one entry an object."""


def columns(rows: Sequence[Mapping[str, Any]]) -> Meta:
    """Turn one dictionary an object into columns.

    Args:
        rows: N dictionaries with the same keys; values are numbers, booleans or strings.

    Returns:
        Columns of N entries; empty when the dictionaries are.

    Raises:
        ValueError: when two objects have different keys.
        TypeError: when a value is neither a number nor a string.

    >>> columns([{"encoder": "text"}, {"encoder": "image"}])["encoder"].names
    ('image', 'text')
    """
    if not rows or not any(rows):
        return {}
    keys = set(rows[0])
    for number, row in enumerate(rows):
        if set(row) != keys:
            raise ValueError(f"meta of object {number} has the keys {sorted(row)}, that of object 0 {sorted(keys)}")
    return {key: _column(key, [row[key] for row in rows]) for key in sorted(keys)}


def _column(key: str, values: list[Any]) -> Column:
    if all(isinstance(value, str) for value in values):
        names = tuple(sorted(set(values)))
        code = {name: number for number, name in enumerate(names)}
        return Categories(torch.tensor([code[value] for value in values], dtype=torch.long), names)
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    if all(isinstance(value, (bool, int, float)) for value in values):
        return torch.tensor(values)
    raise TypeError(
        f"meta {key!r} must hold only numbers or only strings, got {sorted({type(v).__name__ for v in values})}"
    )


def concatenate(parts: Sequence[Meta]) -> Meta:
    """One set of columns after the other; all must have the same names.

    Raises:
        ValueError: when the names differ.
        TypeError: when a column holds strings in one part and numbers in another.
    """
    if len({tuple(sorted(part)) for part in parts}) > 1:
        raise ValueError(f"cannot join meta with different columns: {[sorted(part) for part in parts]}")
    return {key: _join(key, [part[key] for part in parts]) for key in (parts[0] if parts else {})}


def _join(key: str, parts: Sequence[Column]) -> Column:
    categories = [part for part in parts if isinstance(part, Categories)]
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not categories:
        return torch.cat(tensors)
    if tensors:
        raise TypeError(f"meta {key!r} holds strings in one part and numbers in another")
    names = tuple(sorted({name for part in categories for name in part.names}))
    return Categories(torch.cat([part.rename(names) for part in categories]), names)


def index_select(meta: Meta, rows: Tensor) -> Meta:
    """The given rows of every column."""
    return {
        key: column.index_select(rows)
        if isinstance(column, Categories)
        else column.index_select(0, rows.to(column.device))
        for key, column in meta.items()
    }


def to(meta: Meta, device: torch.device | str, non_blocking: bool = False) -> Meta:
    """Every column on another device."""
    return {key: column.to(device, non_blocking=non_blocking) for key, column in meta.items()}
