"""Which encoders are cached, and where their vectors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

KeyExtractor = Callable[[Any], Any]


class CacheType(str, Enum):
    """Where the vectors of a cached encoder are kept."""

    NONE = "none"
    """Nowhere: the encoder runs in every step."""
    AUTO = "auto"
    """Where the encoder runs."""
    CPU = "cpu"
    """In the main memory."""
    GPU = "gpu"
    """On the model's GPU."""


@dataclass(frozen=True)
class CacheConfig:
    """How frozen encoders are cached: each distinct object is encoded once, then a batch is a tensor of row numbers.

    Objects are told apart by their content, so the cache is right for every data set, order and worker. Random
    augmentation makes new content in every epoch: exclude such encoders with `CacheType.NONE`.

    Args:
        cache_type: for all frozen encoders.
        mapping: for single ones, by name; it goes before `cache_type`.
        key_extractors: for objects whose content has no key (see `simlearn.hashing.content_key`) or is large: a
            function from the object to something smaller that tells it apart; one for all encoders, or by encoder name.
        batch_size: objects encoded at once while filling.
    """

    cache_type: CacheType = CacheType.AUTO
    mapping: Mapping[str, CacheType] = field(default_factory=dict)
    key_extractors: KeyExtractor | Mapping[str, KeyExtractor] = field(default_factory=dict)
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def type_of(self, encoder: str) -> CacheType:
        """Where the vectors of an encoder are kept."""
        return CacheType(self.mapping.get(encoder, self.cache_type))

    def key_extractor(self, encoder: str) -> KeyExtractor | None:
        """The function that makes an encoder's keys; None takes the object itself."""
        if isinstance(self.key_extractors, Mapping):
            return self.key_extractors.get(encoder)
        return self.key_extractors
