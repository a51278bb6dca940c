"""Vectors, one or many an object: the type that encoders give to heads, and heads to losses, scorers and searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distributed import exchange, gather, is_distributed


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The embeddings of N objects.

    Args:
        values: (N, D) one vector an object, or (N, M, D) up to M vectors an object (tokens, codes).
        mask: (N, M) bool, True where a vector counts; None when all do. Only for many vectors an object.

    Raises:
        ValueError: when the shapes do not fit.
    """

    values: Tensor
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        if self.values.ndim not in (2, 3):
            raise ValueError(f"embeddings must be (N, D) or (N, M, D), got shape {tuple(self.values.shape)}")
        if self.mask is None:
            return
        if self.values.ndim == 2:
            raise ValueError("one vector an object takes no mask")
        if self.mask.shape != self.values.shape[:2]:
            raise ValueError(
                f"the mask must be (N, M) = {tuple(self.values.shape[:2])} beside values of shape "
                f"{tuple(self.values.shape)}, got {tuple(self.mask.shape)}"
            )
        if self.mask.dtype is not torch.bool:
            raise ValueError(f"the mask must be bool, got {self.mask.dtype}; use mask.bool()")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_multi_vector(self) -> bool:
        """Whether an object has many vectors, (N, M, D)."""
        return self.values.ndim == 3

    @property
    def size(self) -> int:
        """D, the length of one vector."""
        return self.values.shape[-1]

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    def to(self, device: torch.device | str) -> Embeddings:
        """The same on another device."""
        return Embeddings(self.values.to(device), None if self.mask is None else self.mask.to(device))

    def detach(self) -> Embeddings:
        """The same without a graph."""
        return Embeddings(self.values.detach(), self.mask)

    def take(self, rows: Tensor | slice) -> Embeddings:
        """The objects at `rows`, in that order."""
        if isinstance(rows, slice):
            return Embeddings(self.values[rows], None if self.mask is None else self.mask[rows])
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Embeddings(self.values.index_select(0, rows), mask)

    def split(self, sizes: Sequence[int]) -> list[Embeddings]:
        """Consecutive parts of the given sizes, which must add up to N."""
        values = torch.split(self.values, list(sizes))
        masks = [None] * len(values) if self.mask is None else list(torch.split(self.mask, list(sizes)))
        return [Embeddings(value, mask) for value, mask in zip(values, masks, strict=True)]

    @staticmethod
    def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
        """One part after the other; where objects have many vectors, the shorter parts are padded and masked.

        Raises:
            ValueError: without any part, or for one vector an object in one part and many in another.
        """
        if len({part.is_multi_vector for part in parts}) != 1:
            raise ValueError(
                "embeddings are concatenated from at least one part, all of them with one vector an object or all with "
                f"many; got the shapes {[tuple(part.values.shape) for part in parts]}"
            )
        if not parts[0].is_multi_vector:
            return Embeddings(torch.cat([part.values for part in parts]))
        longest = max(part.values.shape[1] for part in parts)
        padded = [part.pad(longest) for part in parts]
        if all(part.mask is None for part in padded):
            return Embeddings(torch.cat([part.values for part in padded]))
        return Embeddings(torch.cat([part.values for part in padded]), torch.cat([part.full_mask() for part in padded]))

    def full_mask(self) -> Tensor:
        """The mask (N, M), written out when it was None."""
        if self.mask is not None:
            return self.mask
        return torch.ones(self.values.shape[:2], dtype=torch.bool, device=self.device)

    def blank(self) -> Embeddings:
        """The same with zeros where the mask hides: whatever stands there reaches neither a value nor a gradient."""
        if self.mask is None:
            return self
        return Embeddings(self.values.masked_fill(~self.mask[..., None], 0.0), self.mask)

    def map_vectors(self, function: Callable[[Tensor], Tensor]) -> Embeddings:
        """The same after a function of vectors, which is given those that count and no others.

        Args:
            function: from (R, D), the vectors of all objects, to (R, D').

        Returns:
            As many vectors an object, of length D', with zeros where the mask hides.
        """
        if not self.is_multi_vector:
            return Embeddings(function(self.values))
        if self.mask is None:
            vectors = function(self.values.flatten(0, 1))
            return Embeddings(vectors.view(*self.values.shape[:2], vectors.shape[-1]))
        vectors = function(self.values[self.mask])
        places = self.mask.flatten().nonzero()[:, 0]
        values = vectors.new_zeros(self.mask.numel(), vectors.shape[-1]).index_copy(0, places, vectors)
        return Embeddings(values.view(*self.mask.shape, vectors.shape[-1]), self.mask)

    def pad(self, length: int) -> Embeddings:
        """Up to `length` vectors an object, with zeros that the mask hides.

        Raises:
            ValueError: for one vector an object, or where objects have more than `length` vectors.
        """
        if not self.is_multi_vector or self.values.shape[1] > length:
            raise ValueError(f"cannot pad values of shape {tuple(self.values.shape)} to {length} vectors an object")
        missing = length - self.values.shape[1]
        if missing == 0:
            return self
        return Embeddings(F.pad(self.values, (0, 0, 0, missing)), F.pad(self.full_mask(), (0, missing)))


def gather_embeddings(parts: Sequence[Embeddings], sizes: Sequence[Sequence[int]]) -> list[Embeddings]:
    """Those of all processes, in the order of their ranks, with gradients.

    However many parts there are, it is one collective, and one more in the backward pass; objects of many vectors need
    another to agree on how many.

    Args:
        parts: K embeddings of one dtype.
        sizes: for each process, by rank, its K numbers of objects, as `Relation.shares` holds them.

    Returns:
        K embeddings; the same where there is one process.
    """
    if not is_distributed():
        return list(parts)
    if any(part.is_multi_vector for part in parts):
        parts, masked = _of_one_length(parts)
    else:
        masked = [False] * len(parts)
    shapes = [part.values.shape[1:] for part in parts]
    lengths = [[size * shape.numel() for size, shape in zip(own, shapes, strict=True)] for own in sizes]
    everything = gather(torch.cat([part.values.reshape(-1) for part in parts]), [sum(own) for own in lengths])
    pieces = torch.split(everything, [length for own in lengths for length in own])
    joined = []
    for number, (shape, has_mask) in enumerate(zip(shapes, masked, strict=True)):
        values = torch.cat(pieces[number :: len(shapes)]).reshape(sum(own[number] for own in sizes), *shape)
        joined.append(Embeddings(values[..., :-1], values[..., -1].detach() > 0) if has_mask else Embeddings(values))
    return joined


def _of_one_length(parts: Sequence[Embeddings]) -> tuple[list[Embeddings], list[bool]]:
    """Parts whose objects have as many vectors in every process, the masks that this needs as one more value a vector.

    So a mask travels with its vectors.
    """
    said = [number for part in parts for number in (part.values.shape[1], int(part.mask is not None))]
    told = exchange(said, parts[0].device)
    padded, masked = [], []
    for number, part in enumerate(parts):
        lengths = [own[2 * number] for own in told]
        has_mask = part.is_multi_vector and (len(set(lengths)) > 1 or any(own[2 * number + 1] for own in told))
        if part.is_multi_vector:
            part = part.pad(max(lengths))
        if has_mask:
            part = Embeddings(torch.cat([part.values, part.full_mask()[..., None].to(part.values.dtype)], dim=-1))
        padded.append(part)
        masked.append(has_mask)
    return padded, masked
