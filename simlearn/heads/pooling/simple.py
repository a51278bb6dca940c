"""Poolings that choose or average."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.heads.pooling.pooling import Pooling, at_places
from simlearn.precision import at_least_single


class CLSPooling(Pooling):
    """The first vector that counts: of BERT and its like that of the `[CLS]` token."""

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, D)."""
        first = mask.int().argmax(1) if mask.shape[1] else mask.new_zeros(len(mask), dtype=torch.long)
        return at_places(values, first, mask.any(1))


class LastTokenPooling(Pooling):
    """The last vector that counts: of a causal model that of the token that closes a text, and has seen all of it."""

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, D)."""
        if not mask.shape[1]:
            return at_places(values, mask.new_zeros(len(mask), dtype=torch.long), mask.any(1))
        last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
        return at_places(values, last, mask.any(1))


class MeanPooling(Pooling):
    """The mean of the vectors that count, summed up in at least fp32."""

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, D)."""
        sums = values.sum(1, dtype=at_least_single(values))
        return (sums / mask.sum(1, keepdim=True).clamp(min=1)).to(values.dtype)


class MaxPooling(Pooling):
    """The largest of each value over the vectors that count."""

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, D)."""
        if not values.shape[1]:
            return values.sum(1)
        largest = values.masked_fill(~mask[..., None], torch.finfo(values.dtype).min).amax(1)
        return largest.masked_fill(~mask.any(1, keepdim=True), 0.0)


class FirstM(Pooling):
    """The first m vectors that count; of a shorter object fewer, and a mask that says so (Humeau et al. 2020).

    Args:
        input_embedding_size: D.
        m: how many.
        dropout: see `Pooling`.

    Raises:
        ValueError: for an m below 1.
    """

    def __init__(self, input_embedding_size: int, m: int, dropout: float = 0.0) -> None:
        super().__init__(input_embedding_size, dropout)
        if m < 1:
            raise ValueError(f"m must be at least 1, got {m}")
        self.m = m

    def pool(self, values: Tensor, mask: Tensor) -> Embeddings:
        """(N, at most m, D)."""
        # A stable sort brings those that count to the front, wherever the padding is.
        order = (~mask).int().argsort(dim=1, stable=True)[:, : self.m]
        kept = mask.gather(1, order)
        chosen = values.gather(1, order[..., None].expand(-1, -1, values.shape[2]))
        return Embeddings(chosen * kept[..., None], kept)
