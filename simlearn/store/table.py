"""What every table of vectors can do, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.meta import Meta

KEY_SIZE = 16
"""Bytes of a key, as `simlearn.hashing.content_key` makes them."""

Keys: TypeAlias = "Sequence[bytes] | NDArray[np.uint8]"
"""n keys: 16 bytes each, or an array (n, 16) of uint8."""


class Table(Protocol):
    """Embeddings under the content keys of their objects, one row an object.

    It is filled by asking what is `missing`, encoding that and appending it. Rows are asked for afterwards: another
    process that fills the same table may come first, so no row has a number before it is in.
    """

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def missing(self, keys: Keys) -> NDArray[np.int64]:
        """Positions, ascending, of the keys that the table lacks; of a key that is there several times, the first."""
        ...

    def append(self, keys: Keys, embeddings: Embeddings, meta: Meta) -> None:
        """Add a row for each of n keys that the table lacks; the others are dropped, so to fill it twice is harmless.

        Args:
            keys: n keys.
            embeddings: of the n objects, with one vector or many vectors an object.
            meta: columns of n entries; the same columns in every call.
        """
        ...

    def find(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys, -1 for those that the table lacks."""
        ...

    def rows(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys; raises KeyError for a key that the table lacks."""
        ...

    def take(self, rows: Tensor, device: torch.device | str) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of the given rows (n,), in their order, on `device`.

        Where objects have many vectors, those that their mask hid are gone, and the others stand first.
        """
        ...


def as_keys(keys: Keys) -> NDArray[np.uint8]:
    """The keys as one array (n, 16).

    Raises:
        ValueError: for keys that are not 16 bytes long.
    """
    if isinstance(keys, np.ndarray):
        if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != KEY_SIZE:
            raise ValueError(f"an array of keys must be (n, {KEY_SIZE}) of uint8, got {keys.shape} of {keys.dtype}")
        return np.ascontiguousarray(keys)
    if wrong := {len(key) for key in keys} - {KEY_SIZE}:
        raise ValueError(f"keys are {KEY_SIZE} bytes, as content_key makes them; got some of {sorted(wrong)} bytes")
    return np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_SIZE)
