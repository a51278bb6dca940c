"""How large a cache of many vectors an object will become, told while it is still small."""

from __future__ import annotations

import warnings
from collections import Counter

import torch

from simlearn.embeddings import Embeddings

LARGE = 2**30
"""Bytes from which on it is told."""


class Growth:
    """Looks at what the first samples of a fill take, and says what all of them will.

    Args:
        samples: how many there are; None where nobody knows.
        dtype: what vectors are kept in; None for their own.
    """

    def __init__(self, samples: int | None, dtype: torch.dtype | None = None) -> None:
        self.samples = samples
        self.dtype = dtype
        self._bytes: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()

    def add(self, name: str, embeddings: Embeddings) -> None:
        """What new objects of a part were encoded to."""
        if embeddings.is_multi_vector:
            vectors = int(embeddings.full_mask().sum())
            self._bytes[name] += vectors * embeddings.size * (self.dtype or embeddings.values.dtype).itemsize
            self._objects[name] += len(embeddings)

    def tell(self, read: int) -> None:
        """Warn of what takes more than a gigabyte, once so many samples were read; afterwards there is no need to."""
        if self.samples is not None and read < self.samples:
            for name, taken in self._bytes.items():
                whole = taken * self.samples / read
                if whole > LARGE:
                    warnings.warn(
                        f"the vectors of part {name!r} will take about {whole / 2**30:.1f} GB, "
                        f"{taken / self._objects[name] / 1024:.0f} KB an object: one for each token. "
                        "CacheConfig(save_dir=..., dtype=torch.float16) halves it, and the encoder's max_length cuts "
                        "long texts",
                        stacklevel=3,
                    )
        self.samples = None
