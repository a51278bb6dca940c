"""Embeddings kept in memory by the key of what was encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn import meta as columns
from simlearn.embeddings import Embeddings
from simlearn.meta import Meta
from simlearn.ragged import flatten, pad
from simlearn.store.key_index import KeyIndex
from simlearn.store.table import KEY_SIZE, Keys, as_keys


class VectorTable:
    """Rows of embeddings in memory, on one device, each under the content key of its object; see `Table`.

    Args:
        device: where the vectors are kept; None leaves them where they were computed.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self._index = KeyIndex()
        self._keys = _Grown(torch.empty((0, KEY_SIZE), dtype=torch.uint8))
        self._values: _Grown | None = None
        self._ends: _Grown | None = None
        self._meta: list[Meta] = []

    def __len__(self) -> int:
        return len(self._index)

    @property
    def vectors(self) -> Tensor:
        """(rows, D), in the encoder's own dtype; the vectors of all rows (T, D) where an object has many.

        Raises:
            ValueError: while the table is empty.
        """
        if self._values is None:
            raise ValueError("the table is empty; fill it before it is read")
        return self._values.filled

    @property
    def meta(self) -> Meta:
        """Columns (rows,) beside the vectors."""
        if len(self._meta) > 1:  # joined when they are read: one join a chunk would copy all rows for every chunk
            self._meta = [columns.concatenate(self._meta)]
        return self._meta[0] if self._meta else {}

    def missing(self, keys: Keys) -> NDArray[np.int64]:
        """Positions, ascending, of the keys that the table lacks; of a key that is there several times, the first."""
        return self._index.missing(keys)

    def find(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys, -1 for those that the table lacks."""
        return torch.from_numpy(self._index.find(keys))

    def rows(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys.

        Raises:
            KeyError: for a key that the table lacks.
        """
        return self._index.rows(keys)

    @torch.inference_mode(False)  # a space made in inference mode could not be written to outside of it
    def append(self, keys: Keys, embeddings: Embeddings, meta: Meta) -> None:
        """Add a row for each of n keys that the table lacks; see `Table.append`.

        Raises:
            ValueError: for embeddings or meta of another number than keys, or of another kind than those before.
        """
        keys = as_keys(keys)
        check_counts(len(keys), embeddings, meta)
        new = self.missing(keys)
        if not len(new):
            return
        if len(new) < len(keys):
            kept = torch.from_numpy(new)
            keys, meta = keys[new], columns.index_select(meta, kept)
            embeddings = embeddings.take(kept.to(embeddings.device))
        values, lengths = flatten(embeddings)
        if self._values is None:
            device = values.device if self.device is None else self.device
            self._values = _Grown(values.new_empty((0, values.shape[1]), device=device))
            self._ends = None if lengths is None else _Grown(torch.zeros(1, dtype=torch.long, device=device))
        old = self._values.filled
        told = [_kind(values, lengths is not None), _kind(old, self._ends is not None)]
        if told[0] != told[1]:
            raise ValueError(f"got {told[0]}, the table holds {told[1]}; an encoder has its own table")
        if self._meta and set(meta) != set(self._meta[0]):
            raise ValueError(f"got meta columns {sorted(meta)}, the table has {sorted(self._meta[0])}")
        if self._ends is not None and lengths is not None:
            self._ends.extend(lengths.to(old.device).cumsum(0) + self._ends.filled[-1])
        self._meta.append(columns.to(meta, old.device))
        self._values.extend(values)
        self._keys.extend(torch.tensor(keys))
        self._index.grow(self._keys.filled.numpy())

    def take(self, rows: Tensor, device: torch.device | str) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of the given rows, on `device`; see `Table.take`."""
        index = rows.to(self.vectors.device)
        if self._ends is None:
            embeddings = Embeddings(self.vectors.index_select(0, index).to(device))
        else:
            bounds = self._ends.filled
            starts = bounds.index_select(0, index)
            embeddings = pad(self.vectors, starts, bounds.index_select(0, index + 1) - starts).to(device)
        return embeddings, columns.to(columns.index_select(self.meta, index), device)


class _Grown:
    """A tensor that more rows are added to, in a space that grows by half."""

    def __init__(self, start: Tensor) -> None:
        self._space = start
        self._count = len(start)

    @property
    def filled(self) -> Tensor:
        return self._space[: self._count]

    def extend(self, rows: Tensor) -> None:
        needed = self._count + len(rows)
        if needed > len(self._space):
            grown = self._space.new_empty((max(needed, int(1.5 * len(self._space))), *self._space.shape[1:]))
            grown[: self._count] = self.filled
            self._space = grown
        self._space[self._count : needed] = rows
        self._count = needed


def check_counts(count: int, embeddings: Embeddings, meta: Meta) -> None:
    """Refuse keys, embeddings and meta of different numbers of objects."""
    counts: dict[str, Any] = {"embeddings": len(embeddings), **{name: len(column) for name, column in meta.items()}}
    if wrong := {name: length for name, length in counts.items() if length != count}:
        raise ValueError(f"each of the {count} keys needs an entry, got as many as this: {wrong}")


def _kind(values: Tensor, many: bool) -> str:
    return f"{'many vectors' if many else 'one vector'} an object of size {values.shape[1]} and {values.dtype}"
