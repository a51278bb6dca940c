"""How a negative cache is kept, and drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

Sampler = Literal["softmax", "highest"]
Eviction = Literal["lru", "fifo"]


@dataclass(frozen=True)
class NegativeCacheConfig:
    """How many documents are kept, and how negatives are drawn from them.

    Args:
        size: how many documents are kept.
        top_k: the softmax is over the best so many of each query alone; None for all. Cheaper, and biased towards what
            is hard.
        groups: take the best of each of `top_k` groups of rows instead of the best of all: faster, and nearly as good.
            `size` must be a multiple of `top_k`.
        samples: how many negatives of each query are drawn and encoded anew. More are less noisy and cost as many
            encoder passes.
        sampler: `"softmax"` draws by the softmax, which makes the gradient that of the whole softmax on average;
            `"highest"` takes the best, which does not.
        inv_temp: draw by the softmax of the logits times this; the gradient is weighted so that its mean stays.
        start_filled: the share of `size` that must be filled before the cache counts in training, from 0 to 1.
        refresh: how many documents a training step encodes again without gradients besides those that are drawn, the
            oldest first.
        eviction: whose place a new document takes: `"fifo"` the one that came first, `"lru"` the one that was encoded
            longest ago, so that what is drawn often stays.
        dtype: what embeddings are kept in; 16 bits halve the memory, and are slower on CPUs that cannot compute in
            them.
        seed: of the drawing, 0 or more.

    Raises:
        ValueError: for numbers out of range, and options that do not go together.
    """

    size: int
    top_k: int | None = None
    groups: bool = False
    samples: int = 1
    sampler: Sampler = "softmax"
    inv_temp: float = 1.0
    start_filled: float = 0.0
    refresh: int = 0
    eviction: Eviction = "lru"
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or self.samples < 1 or self.seed < 0:
            raise ValueError(
                f"size and samples must be at least 1 and seed 0 or more, got {self.size}, {self.samples}, {self.seed}"
            )
        if not 0 <= self.start_filled <= 1 or self.refresh < 0:
            raise ValueError(
                f"start_filled must be from 0 to 1 and refresh 0 or more, got {self.start_filled} and {self.refresh}"
            )
        if self.top_k is not None and not 1 <= self.top_k <= self.size:
            raise ValueError(f"top_k must be from 1 to size, {self.size}, got {self.top_k}; None takes all rows")
        if self.groups and (self.top_k is None or self.size % self.top_k):
            raise ValueError(
                f"groups=True cuts size={self.size} into top_k={self.top_k} groups, which must be of one size; choose "
                "a multiple"
            )
        if self.sampler not in get_args(Sampler):
            raise ValueError(f"sampler must be 'softmax' or 'highest', got {self.sampler!r}")
        if self.eviction not in get_args(Eviction):
            raise ValueError(f"eviction must be 'lru' or 'fifo', got {self.eviction!r}")
        if not self.inv_temp > 0 or (self.inv_temp != 1 and self.sampler == "highest"):
            raise ValueError(f"inv_temp must be above 0, and goes with sampler='softmax'; got {self.inv_temp}")
        if not self.dtype.is_floating_point:
            raise ValueError(f"dtype must be one of floats, got {self.dtype}")
