"""Which encoders are cached, and where their vectors are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import torch

KeyExtractor = Callable[[Any], Any]


class CacheType(str, Enum):
    """Where the vectors of a cached encoder are while training reads them."""

    NONE = "none"
    """Nowhere: the encoder runs in every step."""
    AUTO = "auto"
    """On the model's GPU where there is one with room for them; else memory-mapped where they are on disk; else in the
    main memory."""
    CPU = "cpu"
    """In the main memory."""
    GPU = "gpu"
    """On the model's GPU."""
    MMAP = "mmap"
    """On disk, memory-mapped: as fast as the main memory once they were read, and they need none."""


@dataclass(frozen=True)
class CacheConfig:
    """How frozen encoders are cached: each distinct object is encoded once, then a batch is a tensor of row numbers.

    Objects are told apart by their content, and vectors by who computed them (weights, settings, prompt, precision,
    code of your own), so the cache is right for every data set, order, worker and run: with other data only new objects
    are encoded, with another encoder all are. Random augmentation makes new content in every epoch: exclude such
    encoders with `CacheType.NONE`.

    Args:
        cache_type: for all frozen encoders.
        mapping: for single ones, by name; it goes before `cache_type`.
        key_extractors: for objects whose content has no key (see `simlearn.hashing.content_key`) or is large: a
            function from the object to something smaller that tells it apart; one for all encoders, or by encoder name.
        batch_size: objects encoded at once while filling.
        num_workers: processes that read the data set while filling; 0 reads it in the training process.
        save_dir: a folder in which vectors outlive the run; see `simlearn.cache` for how to look after it. None keeps
            them for one `fit`: in memory, or in a temporary folder where several processes or `MMAP` need one.
        dtype: what vectors are kept in, such as `torch.float16`; None for the encoder's own. Only on disk.
        autocast: the dtype of autocast while filling, such as `torch.bfloat16`; None for none.
        tokens: tokenise the texts of trainable encoders once, too; the tokens are kept as long as the vectors.

    Raises:
        ValueError: for numbers out of range, and for dtypes that are not of floating point.
    """

    cache_type: CacheType = CacheType.AUTO
    mapping: Mapping[str, CacheType] = field(default_factory=dict)
    key_extractors: KeyExtractor | Mapping[str, KeyExtractor] = field(default_factory=dict)
    batch_size: int = 32
    num_workers: int = 0
    save_dir: str | os.PathLike[str] | None = None
    dtype: torch.dtype | None = None
    autocast: torch.dtype | None = None
    tokens: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {self.num_workers}")
        for name in ("dtype", "autocast"):
            dtype = getattr(self, name)
            if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
                raise ValueError(f"{name} must be a floating-point dtype such as torch.float16, got {dtype!r}")

    def type_of(self, encoder: str) -> CacheType:
        """Where the vectors of an encoder are kept."""
        return CacheType(self.mapping.get(encoder, self.cache_type))

    def key_extractor(self, encoder: str) -> KeyExtractor | None:
        """The function that makes an encoder's keys; None takes the object itself."""
        if isinstance(self.key_extractors, Mapping):
            return self.key_extractors.get(encoder)
        return self.key_extractors
