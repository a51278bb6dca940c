"""Embeddings kept by the key of what was encoded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simlearn import meta as columns
from simlearn.meta import Meta


class VectorTable:
    """Rows of vectors, each under the content key of its object; in memory, on one device.

    A new key first claims a row; its vector follows with `extend`, in the order of the claims.

    Args:
        device: where the vectors are kept; None leaves them where they were computed.
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self._meta: list[Meta] = []
        self._rows: dict[bytes, int] = {}
        self._space: Tensor | None = None
        self._filled = 0

    def __len__(self) -> int:
        return self._filled

    @property
    def vectors(self) -> Tensor:
        """(rows, D), in the encoder's own dtype.

        Raises:
            ValueError: while the table is empty.
        """
        if self._space is None:
            raise ValueError("the table is empty; fill it before it is read")
        return self._space[: self._filled]

    @property
    def meta(self) -> Meta:
        """Columns (rows,) beside the vectors."""
        if len(self._meta) > 1:  # joined when they are read: one join a chunk would copy all rows for every chunk
            self._meta = [columns.concatenate(self._meta)]
        return self._meta[0] if self._meta else {}

    def claim(self, keys: Sequence[bytes]) -> tuple[Tensor, list[int]]:
        """Give every key a row.

        Args:
            keys: n keys.

        Returns:
            Their rows (n,) int64, and the positions in `keys` of those that were new: their vectors are owed.
        """
        rows, new = [], []
        for position, key in enumerate(keys):
            if key not in self._rows:
                self._rows[key] = len(self._rows)
                new.append(position)
            rows.append(self._rows[key])
        return torch.tensor(rows, dtype=torch.long), new

    def rows(self, keys: Sequence[bytes]) -> Tensor:
        """The rows (n,) int64 of n keys.

        Raises:
            KeyError: for a key that the table lacks.
        """
        return torch.tensor([self._rows[key] for key in keys], dtype=torch.long)

    @torch.inference_mode(False)  # a space made in inference mode could not be written to outside of it
    def extend(self, vectors: Tensor, meta: Meta) -> None:
        """Pay the vectors (n, D) and meta that are owed, in the order of the claims.

        Raises:
            ValueError: for more vectors than are owed, or of another length than those before.
        """
        if self._space is None:
            device = self.device if self.device is not None else vectors.device
            self._space = torch.empty((0, vectors.shape[1]), dtype=vectors.dtype, device=device)
        needed = self._filled + len(vectors)
        if needed > len(self._rows) or vectors.shape[1:] != self._space.shape[1:]:
            raise ValueError(
                f"got vectors of shape {tuple(vectors.shape)}, owed are {len(self._rows) - self._filled} of length "
                f"{self._space.shape[1]}; claim their keys first"
            )
        if needed > len(self._space):
            grown = self._space.new_empty((max(needed, int(1.5 * len(self._space))), self._space.shape[1]))
            grown[: self._filled] = self._space[: self._filled]
            self._space = grown
        self._space[self._filled : needed] = vectors.detach()
        if len(vectors):
            self._meta.append(columns.to(meta, self._space.device))
        self._filled = needed

    def take(self, rows: Tensor, device: torch.device | str) -> tuple[Tensor, Meta]:
        """Vectors (n, D) and meta of the given rows, on `device`."""
        index = rows.to(self.vectors.device)
        return self.vectors.index_select(0, index).to(device), columns.to(
            columns.index_select(self.meta, index), device
        )
