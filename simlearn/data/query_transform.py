"""Queries that are others in every epoch, and the same ones in every run."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True)
class QueryTransform:
    """What is done to the queries of an epoch.

    Args:
        function: of a query and a seed.
        seed: of the loader.
        epoch: the number of the epoch.
    """

    function: Callable[[Any, int], Any]
    seed: int
    epoch: int

    def __call__(self, queries: Sequence[Any], numbers: Sequence[int] | None) -> list[Any]:
        """The queries of N samples, changed, in their order.

        Args:
            queries: N of them.
            numbers: of their samples; None for a stream, where all have the seed of the epoch.
        """
        if numbers is None:
            seed = self._seed(0)
            return [self.function(query, seed) for query in queries]
        return [self.function(query, self._seed(number + 1)) for query, number in zip(queries, numbers, strict=True)]

    def _seed(self, number: int) -> int:
        told = struct.pack("<QQQ", self.seed % 2**64, self.epoch, number)
        return int.from_bytes(blake2b(told, digest_size=8).digest(), "little")
