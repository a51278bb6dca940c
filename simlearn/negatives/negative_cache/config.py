"""How a negative cache is kept, and drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

Sampler = Literal["softmax", "highest"]
Eviction = Literal["lru", "fifo"]
Distribution = Literal["sharded", "replicated", "local"]
Write = Literal["train", "eval"]
Device = Literal["auto", "cpu"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "sampler": get_args(Sampler),
    "eviction": get_args(Eviction),
    "write": get_args(Write),
    "distributed": get_args(Distribution),
    "device": get_args(Device),
}


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
        start_filled: the share of `size` that must be filled before the cache counts in training, from 0 to 1. A model
            that starts from nothing moves fast in the beginning, and negatives of some steps ago lead it astray: 1.0
            helps it, where there are as many documents as `size`.
        refresh: how many documents a training step encodes again without gradients besides those that are drawn, the
            oldest first.
        eviction: whose place a new document takes: `"fifo"` the one that came first, `"lru"` the one that was encoded
            longest ago, so that what is drawn often stays.
        in_batch: whether the documents of the batch are negatives besides, as soon as the cache counts. Without them a
            softmax is over a query's own documents and the cache, as in the paper.
        write: `"train"` keeps the embeddings that training computes, dropout and all, as the paper; `"eval"` those
            that are served, for a second encoder pass.
        distributed: of several processes. `"sharded"`: each keeps, searches and encodes a part of the `size` documents,
            and what is drawn is drawn from all. `"replicated"`: each keeps all, and searches them for all queries.
            `"local"`: each keeps `size` documents of its own batches for its own queries, which is as quick as one
            process, and not the same as one.
        dtype: what embeddings are kept in; 16 bits halve the memory, and are slower on CPUs that cannot compute in
            them.
        device: where embeddings are kept, `"auto"` where the model is. On the `"cpu"` they cost no memory of a GPU,
            and go there tile by tile in every step.
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
    in_batch: bool = True
    write: Write = "train"
    distributed: Distribution = "sharded"
    dtype: torch.dtype = torch.float32
    device: Device = "auto"
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
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {getattr(self, name)!r}")
        if not self.inv_temp > 0 or (self.inv_temp != 1 and self.sampler == "highest"):
            raise ValueError(f"inv_temp must be above 0, and goes with sampler='softmax'; got {self.inv_temp}")
        if not self.dtype.is_floating_point:
            raise ValueError(f"dtype must be one of floats, got {self.dtype}")
