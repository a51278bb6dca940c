"""Queries that are others in every epoch, and the same ones in every run."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeAlias, cast

from torch import nn

GivenTransform: TypeAlias = "Callable[[Any, int], Any] | Callable[[Any], Any]"
"""A function of a query and a seed, or of a query alone."""


_EITHER: Final = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME: Final = inspect.Parameter.KEYWORD_ONLY


@dataclass(frozen=True)
class QueryTransform:
    """What is done to the queries of an epoch.

    Args:
        function: of a query and a seed; see `seeded`.
        seed: of the loader.
        epoch: the number of the epoch.
    """

    function: Callable[[Any, int], Any]
    seed: int
    epoch: int

    def __call__(self, queries: Sequence[Any], numbers: Sequence[int], shard: int | None = None) -> list[Any]:
        """The queries of N samples, changed, in their order.

        Args:
            queries: N of them.
            numbers: of their samples in the data set; or, in a stream, their places.
            shard: the part of the stream that the places are counted in; None for samples with numbers.
        """
        rest = () if shard is None else (shard,)
        return [
            self.function(query, self._seed(number + 1, *rest)) for query, number in zip(queries, numbers, strict=True)
        ]

    def _seed(self, *numbers: int) -> int:
        told = struct.pack(f"<{2 + len(numbers)}Q", self.seed % 2**64, self.epoch, *numbers)
        return int.from_bytes(blake2b(told, digest_size=8).digest(), "little")


def seeded(function: GivenTransform) -> Callable[[Any, int], Any]:
    """A function of a query and a seed, made of what a user gives; picklable where that is.

    The seed is given to a parameter called `seed`, to a second one that has no default, and to `*args`. Other functions
    are taken to be of the query alone.

    Raises:
        TypeError: for what cannot be called so.

    >>> seeded(str.upper)("spoon", 3), seeded(lambda query, seed: f"{query} {seed}")("spoon", 3)
    ('SPOON', 'spoon 3')
    """
    cure = "query_transform must be a function of a query, or of a query and a seed"
    if not callable(function):
        raise TypeError(f"{cure}; got {function!r:.80}")
    try:
        # Of a torch module, the call itself takes anything.
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except ValueError:
        raise TypeError(f"{cure}; {function!r:.80} does not tell which it is: put it into a lambda") from None
    positional = [one for one in signature.parameters.values() if one.kind in (one.POSITIONAL_ONLY, _EITHER)]
    takes_more = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    second = positional[1] if len(positional) > 1 else None
    by_place = takes_more if second is None else second.name == "seed" or second.default is second.empty
    seed = signature.parameters.get("seed")
    by_name = not by_place and seed is not None and seed.kind in (_EITHER, _BY_NAME) and seed not in positional[:1]
    try:
        signature.bind(*(None, 0)[: 1 + by_place], **({"seed": 0} if by_name else {}))
    except TypeError as error:
        raise TypeError(f"{cure}; {function!r:.80} takes {signature} ({error})") from None
    if by_place:
        return cast(Callable[[Any, int], Any], function)
    return _Named(function) if by_name else _Unseeded(function)


@dataclass(frozen=True)
class _Named:
    function: Callable[..., Any]

    def __call__(self, query: Any, seed: int) -> Any:
        return self.function(query, seed=seed)


@dataclass(frozen=True)
class _Unseeded:
    function: Callable[..., Any]

    def __call__(self, query: Any, seed: int) -> Any:
        return self.function(query)
