"""Hash buckets of tokens and categories: alike in every process and run, with nothing to build or to store."""

from __future__ import annotations

from functools import lru_cache
from hashlib import md5
from zlib import crc32


def crc32_bucket(token: str, buckets: int) -> int:
    """The bucket of a token in [0, `buckets`)."""
    return crc32(token.encode("utf-8", "surrogatepass")) % buckets


@lru_cache(maxsize=65_536)
def qdrl_bucket(token: str, num_oov: int) -> int:
    """The bucket of an unknown token in [0, `num_oov` - 1): qdrl hashes with md5, and leaves the last one empty."""
    digest = md5(token.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return int(digest, 16) % (num_oov - 1)
