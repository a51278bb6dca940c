"""Vectors that were computed elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simlearn.encoders.encoder import CollateFn, Encoder


class VectorEncoder(Encoder):
    """Takes objects that are vectors already, such as those of an image model; there is nothing to train.

    Args:
        embedding_size: D.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        if embedding_size < 1:
            raise ValueError(f"embedding_size must be at least 1, got {embedding_size}")
        self._size = embedding_size

    @property
    def trainable(self) -> bool:
        """False: it has no weights."""
        return False

    @property
    def embedding_size(self) -> int:
        """D."""
        return self._size

    def get_collate_fn(self) -> CollateFn:
        """From N vectors (lists, arrays or tensors) to (N, D) float32."""
        return _CollateVectors(self._size)

    def forward(self, batch: Tensor) -> Tensor:
        """(N, D), as they are."""
        return batch


@dataclass(frozen=True)
class _CollateVectors:
    size: int

    def __call__(self, objects: list[Any]) -> Tensor:
        if not objects:
            return torch.empty((0, self.size))
        return torch.stack([self._vector(obj) for obj in objects])

    def _vector(self, obj: Any) -> Tensor:
        try:
            vector = (obj.detach() if isinstance(obj, Tensor) else torch.from_numpy(np.array(obj, np.float32))).float()
        except (TypeError, ValueError):
            raise TypeError(f"VectorEncoder reads vectors, got {obj!r:.80}, a {type(obj).__name__}") from None
        if vector.shape != (self.size,):
            raise ValueError(f"VectorEncoder reads vectors of size {self.size}, got one of shape {tuple(vector.shape)}")
        if not bool(vector.isfinite().all()):
            raise ValueError("a vector holds NaN or infinity; leave its object out, or compute it again")
        return vector
