"""Poolings that attend: learnt codes look for what they are about (Humeau et al. 2020, "Poly-encoders")."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from simlearn.distributed import with_zero_gradients
from simlearn.heads.pooling.pooling import Pooling
from simlearn.precision import at_least_single

Attention = Literal["basic", "sqrt", "multihead"]
Init = Literal["normal", "uniform"]
Keys = Literal["tokens", "positions"]


class LearntCodes(Pooling):
    """Each of m learnt codes attends to the vectors that count: y = Σ softmax(⟨c, h⟩) h.

    Args:
        input_embedding_size: D.
        m: how many codes, and vectors of each object.
        init: `"normal"` starts the codes from N(0, 1), `"uniform"` from [0, 1), as ParlAI does.
        attention: `"basic"`; `"sqrt"` divides the products by √D; `"multihead"` has learnt projections of codes,
            vectors, and what they find, as ParlAI's.
        keys: what codes compare with: the vectors (`"tokens"`), or a learnt vector of each of their places
            (`"positions"`).
        dropout: see `Pooling`.
        heads: of `"multihead"`; D must be a multiple.
        max_positions: how many places there are, for `keys="positions"`.

    Raises:
        ValueError: for numbers out of range and unknown names; of a longer object than there are places when pooling.
    """

    def __init__(
        self,
        input_embedding_size: int,
        m: int,
        init: Init = "normal",
        attention: Attention = "basic",
        keys: Keys = "tokens",
        dropout: float = 0.0,
        *,
        heads: int = 4,
        max_positions: int = 1024,
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if m < 1 or max_positions < 1:
            raise ValueError(f"m and max_positions must be at least 1, got {m} and {max_positions}")
        for name, given, known in (("init", init, Init), ("attention", attention, Attention), ("keys", keys, Keys)):
            if given not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(known)))}, got {given!r}")
        if attention == "multihead" and (heads < 1 or input_embedding_size % heads):
            raise ValueError(f"input_embedding_size={input_embedding_size} must be a multiple of heads={heads}")
        self.m, self.init, self.attention, self.keys = m, init, attention, keys
        self.heads = heads if attention == "multihead" else 1
        self.max_positions = max_positions
        size = input_embedding_size
        self.codes = nn.Parameter(torch.rand(m, size) if init == "uniform" else torch.randn(m, size))
        if keys == "positions":
            self.places = nn.Parameter(torch.randn(max_positions, size))
        if attention == "multihead":
            self.asks, self.key, self.value, self.out = (nn.Linear(size, size) for _ in range(4))

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, m, D)."""
        length = values.shape[1]
        if not length:
            return with_zero_gradients(values.sum(1)[:, None].expand(-1, self.m, -1), self.parameters())
        keys = self._places(mask) if self.keys == "positions" else values
        codes = self.codes
        if self.attention == "multihead":
            codes, keys, values = self.asks(codes), self.key(keys), self.value(values)
        step = values.shape[2] // self.heads
        root = 1.0 if self.attention == "basic" else step**0.5
        hidden, found = ~mask[:, None], []
        for first in range(0, values.shape[2], step):
            own = slice(first, first + step)
            logits = codes[:, own] @ keys[..., own].transpose(-1, -2) / root
            # Finite: of -inf alone the softmax, and its gradient, would be NaN.
            logits = logits.to(at_least_single(logits)).expand(len(values), -1, -1)
            weights = logits.masked_fill(hidden, torch.finfo(logits.dtype).min).softmax(2)
            found.append(weights.masked_fill(hidden, 0.0).to(values.dtype) @ values[..., own])
        joined = torch.cat(found, 2)
        if self.attention == "multihead":
            joined = self.out(joined)
        return joined * mask.any(1)[:, None, None]

    def _places(self, mask: Tensor) -> Tensor:
        """The vector of each place (N, M, D), counted from the first vector that counts."""
        places = (mask.cumsum(1) - 1).clamp(min=0)
        longest = int(mask.sum(1).max()) if len(mask) else 0
        if longest > self.max_positions:
            raise ValueError(
                f"an object has {longest} vectors, and there are {self.max_positions} places; make "
                "max_positions larger, or cut objects with the encoder's max_length"
            )
        return self.places[places]


class AttentionPooling(LearntCodes):
    """One learnt code attends to the vectors that count, and finds one vector.

    Args:
        input_embedding_size: D.
        init: see `LearntCodes`.
        attention: likewise.
        dropout: likewise.
        heads: likewise.
    """

    def __init__(
        self,
        input_embedding_size: int,
        init: Init = "normal",
        attention: Attention = "basic",
        dropout: float = 0.0,
        *,
        heads: int = 4,
    ) -> None:
        super().__init__(input_embedding_size, 1, init, attention, "tokens", dropout, heads=heads)

    def pool(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, D)."""
        return super().pool(values, mask)[:, 0]
