"""Objects as numbers of tokens, end to end and not padded: what is counted, cut into chunks and kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from simlearn.ragged import positions


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of N objects.

    Args:
        values: (T, C) int32, those of all objects end to end: C numbers a token, its place in the vocabulary first.
        lengths: (N,) int64, how many each object has.
    """

    values: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Tensor) -> Tokens:
        """The objects at `rows` (n,), in that order."""
        lengths = self.lengths[rows]
        starts = (self.lengths.cumsum(0) - self.lengths)[rows]
        return Tokens(self.values[positions(starts, lengths)], lengths)

    @staticmethod
    def concatenate(parts: Sequence[Tokens]) -> Tokens:
        """One part after the other; at least one."""
        return Tokens(torch.cat([part.values for part in parts]), torch.cat([part.lengths for part in parts]))


@runtime_checkable
class Counting(Protocol):
    """A collate function that knows how many tokens an object has: what a token budget asks for."""

    def lengths(self, objects: list[Any]) -> Tensor:
        """The number of tokens (N,) int64 of each of N objects, as they are encoded: with prompt, and cut off."""
        ...


@runtime_checkable
class Tokenising(Protocol):
    """A collate function in two steps, so that objects are tokenised once, then cut into chunks, or kept on disk."""

    def __call__(self, objects: list[Any]) -> Any:
        """What the encoder takes, of N objects."""
        ...

    @property
    def can_split(self) -> bool:
        """Whether the two steps give bit for bit what the collate function itself gives."""
        ...

    def tokenize(self, objects: list[Any]) -> Tokens:
        """The tokens of N objects."""
        ...

    def pad(self, tokens: Tokens) -> Any:
        """What the encoder takes, of N objects that were tokenised."""
        ...

    def token_settings(self) -> str:
        """What decides the tokens of an object: tokenizer, prompt and limits."""
        ...


def tokenising(collate: Any) -> Tokenising | None:
    """The collate function, if it can be used in two steps."""
    return collate if isinstance(collate, Tokenising) and collate.can_split else None


def can_count(collate: Any) -> bool:
    """Whether the tokens of objects can be counted."""
    return tokenising(collate) is not None or isinstance(collate, Counting)


def count_tokens(collate: Any, objects: list[Any], encoder: str) -> Tensor:
    """The number of tokens (N,) int64 of each of N objects.

    Raises:
        TypeError: naming the encoder, for a collate function that cannot count.
        ValueError: for another number of counts, or negative ones.
    """
    if not can_count(collate):
        raise TypeError(
            f"encode_chunk_tokens needs to know how many tokens an object has, and encoder {encoder!r} cannot tell: "
            "give the function that its get_collate_fn returns a method `lengths(objects)`, which counts them (a "
            "tensor of ones where objects are of one size), or use encode_chunk_size"
        )
    split = tokenising(collate)
    counts = split.tokenize(objects).lengths if split is not None else collate.lengths(objects)
    counts = torch.as_tensor(counts, dtype=torch.long)
    if counts.shape != (len(objects),) or bool((counts < 0).any()):
        raise ValueError(
            f"lengths of encoder {encoder!r} must be {len(objects)} counts of 0 or more, got shape "
            f"{tuple(counts.shape)}"
        )
    return counts


def same_features(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether features are equal bit for bit, also in shape and dtype."""
    if list(one) != list(other):
        return False
    for name, value in one.items():
        twin = other[name]
        if isinstance(value, Tensor) and isinstance(twin, Tensor):
            if value.dtype is not twin.dtype or not torch.equal(value, twin):
                return False
        elif type(value) is not type(twin) or value != twin:
            return False
    return True
