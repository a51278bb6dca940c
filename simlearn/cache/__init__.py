"""No object is encoded twice by a frozen encoder.

What a cache keeps on disk is looked after with `list_entries`, `size`, `verify` and `prune`, or from a terminal with
``python -m simlearn.cache list|size|verify|prune FOLDER``.
"""

from simlearn.cache.config import CacheConfig, CacheType
from simlearn.cache.embedding_cache import EmbeddingCache
from simlearn.cache.management import CacheEntry, Pruned, Verified, list_entries, prune, size, verify

__all__ = [
    "CacheConfig",
    "CacheEntry",
    "CacheType",
    "EmbeddingCache",
    "Pruned",
    "Verified",
    "list_entries",
    "prune",
    "size",
    "verify",
]
