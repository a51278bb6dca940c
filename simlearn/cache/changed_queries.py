"""Queries that are changed in every epoch, which a cache of vectors cannot have."""

from __future__ import annotations

from itertools import islice

import numpy as np

from simlearn.cache.embedding_cache import EmbeddingCache
from simlearn.cache.reading import keys_of
from simlearn.data import SimilarityDataLoader
from simlearn.data.query_transform import QueryTransform, seeded
from simlearn.towers.plan import Part

_TRIED = 64
"""Samples whose queries are changed to see which of their fields that touches."""


def refuse_changed_queries(cache: EmbeddingCache, loader: SimilarityDataLoader) -> None:
    """Refuse a loader whose queries are changed, and are read by an encoder whose vectors are cached.

    An encoder that reads one field of the queries may be cached, where the transform leaves that as it is.

    Raises:
        ValueError: for such an encoder, naming it.
    """
    if loader.query_transform is None:
        return
    for part in filter(cache.covers, cache.model.plan["query"]):
        if part.field is None or _changes(cache, loader, part):
            raise ValueError(
                f"the loader's query_transform changes the queries in every epoch, and encoder {part.encoder!r}, which "
                "reads them, is frozen and cached: the cache has vectors of the queries as they are, and of none that "
                f"is changed. Set CacheConfig(mapping={{{part.encoder!r}: CacheType.NONE}}) to encode them in every "
                "step, train the encoder, or leave out query_transform"
            )


def _changes(cache: EmbeddingCache, loader: SimilarityDataLoader, part: Part) -> bool:
    """Whether what a part reads of the first queries is changed."""
    queries = loader.kind.queries(list(islice(loader.source, _TRIED)))
    if loader.query_transform is None or not queries:
        return False
    changed = QueryTransform(seeded(loader.query_transform), loader.seed, 0)(queries, range(len(queries)))
    extractor = cache.config.key_extractor(part.encoder)
    before, after = (keys_of(part.pick(objects), extractor, part.encoder) for objects in (queries, changed))
    return not np.array_equal(before, after)
