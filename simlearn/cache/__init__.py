"""No object is encoded twice by a frozen encoder."""

from simlearn.cache.config import CacheConfig, CacheType
from simlearn.cache.embedding_cache import EmbeddingCache

__all__ = ["CacheConfig", "CacheType", "EmbeddingCache"]
