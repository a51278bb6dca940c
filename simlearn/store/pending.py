"""Rows that wait to be written, so that one commit holds more than one batch."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn import meta as columns
from simlearn.embeddings import Embeddings
from simlearn.meta import Categories, Meta
from simlearn.ragged import flatten
from simlearn.store.commit import Layout, MetaColumn
from simlearn.store.key_index import KeyIndex
from simlearn.store.mapped_rows import Block
from simlearn.store.table import KEY_SIZE

COMMIT_BYTES = 4 << 20
COMMIT_SECONDS = 5.0
"""What a killed process may lose: a commit is due at so many bytes of vectors, or after so long."""


class Pending:
    """Rows in memory, of one layout.

    Args:
        dtype: what vectors are kept in; None keeps their own.
    """

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.index = KeyIndex()
        self.layout: Layout | None = None
        self._dtype = dtype
        self._keys = np.empty((0, KEY_SIZE), np.uint8)
        self._values: list[Tensor] = []
        self._lengths: list[Tensor] = []
        self._meta: list[Meta] = []
        self._bytes = 0
        self._since = 0.0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def is_due(self) -> bool:
        """Whether to write them now."""
        return self._bytes >= COMMIT_BYTES or (len(self) > 0 and time.monotonic() - self._since >= COMMIT_SECONDS)

    def add(self, keys: NDArray[np.uint8], embeddings: Embeddings, meta: Meta, layout: Layout | None) -> None:
        """Keep more rows, on the CPU.

        Args:
            keys: (n, 16), none of which is kept already.
            embeddings: of the n objects.
            meta: columns of n entries.
            layout: of the table; None while it has none.

        Raises:
            ValueError: when they are laid out in another way, or too large for the dtype.
        """
        values, lengths = flatten(embeddings)
        values = _narrowed(values.cpu(), self._dtype)
        meta = columns.to(meta, "cpu")
        wanted = layout if layout is not None else self.layout
        if wanted is not None:
            meta = {name: _widened(column, wanted.meta.get(name)) for name, column in meta.items()}
        own = Layout.of(values.dtype, values.shape[1], lengths is not None, meta)
        if wanted is not None:
            wanted.check(own)
        if not len(self):
            self._since = time.monotonic()
        self.layout = wanted or own
        self._values.append(values)
        self._lengths += [] if lengths is None else [lengths.cpu()]
        self._meta.append(meta)
        self._bytes += values.nbytes
        self._keys = np.concatenate([self._keys, keys])
        self.index.grow(self._keys)

    def joined(self, layout: Layout | None) -> tuple[Block, Layout]:
        """All of them, and the layout of the table with them.

        Args:
            layout: of the table; None while it has none.

        Raises:
            ValueError: when the table has got another layout meanwhile.
        """
        if self.layout is None:
            raise ValueError("nothing waits to be written")
        layout = layout or self.layout
        layout.check(self.layout)
        described: dict[str, MetaColumn] = {}
        numbers: dict[str, NDArray[np.generic]] = {}
        for name, column in columns.concatenate(self._meta).items():
            known = layout.meta[name]
            if isinstance(column, Categories):
                old = known.names or ()
                names = old + tuple(sorted(set(column.names) - set(old)))
                described[name] = MetaColumn(torch.int32, names)
                numbers[name] = column.rename(names).int().numpy()
            else:
                described[name] = known
                numbers[name] = _words(column)
        lengths = torch.cat(self._lengths).numpy() if layout.many else None
        block = Block(self._keys, _words(torch.cat(self._values)), lengths, numbers)
        return block, Layout(layout.dtype, layout.width, layout.many, described)


def _words(tensor: Tensor) -> NDArray[np.generic]:
    """What of a tensor goes to disk."""
    words: NDArray[np.generic] = (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return words


def _narrowed(values: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None or values.dtype is dtype:
        return values
    cast = values.to(dtype)
    if not torch.equal(cast.isfinite(), values.isfinite()):
        raise ValueError(
            f"vectors reach {float(values.abs().max()):.3g}, which {dtype} cannot hold; keep them in torch.bfloat16, "
            "or in the encoder's own dtype"
        )
    return cast


def _widened(column: columns.Column, kept: MetaColumn | None) -> columns.Column:
    """Whole numbers as fractions, where an earlier batch had some."""
    if kept is not None and isinstance(column, Tensor) and kept.dtype.is_floating_point and kept.names is None:
        return column.to(kept.dtype)
    return column
