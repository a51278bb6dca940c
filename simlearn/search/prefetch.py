"""Search over many vectors an object in two stages: one vector finds some documents, all of them order these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.scoring import CosineScorer, Scorer
from simlearn.search.neighbours import Neighbours
from simlearn.search.top_k import top_k

_AT_ONCE = 4096


class StoredEmbeddings(Protocol):
    """Embeddings that are read by their places, such as `EncodedObjects`."""

    def __len__(self) -> int:
        """M."""
        ...

    def chunks(self, size: int = ...) -> Iterator[Embeddings]:
        """All in their order."""
        ...

    def take(self, objects: Tensor) -> Embeddings:
        """Those at places (n,)."""
        ...


@torch.no_grad()
def prefetch(
    queries: Embeddings,
    documents: Embeddings | StoredEmbeddings,
    k: int,
    scorer: Scorer,
    *,
    first: int | None = None,
    by: Scorer | None = None,
) -> Neighbours:
    """Find about the k documents that score highest for each query, of objects with many vectors.

    The mean of an object's vectors stands for it in an exact search that finds `first` documents; the scorer orders
    them by all their vectors. What the first stage misses is not found: with `first` as many as there are documents the
    result is that of `top_k`, which is exact. Indexes for millions of such documents are left to databases and PLAID.

    Args:
        queries: N embeddings.
        documents: M embeddings, or `EncodedObjects`, of which only those found are read in the second stage.
        k: how many to find.
        scorer: how objects compare by all their vectors, such as `MaxSim`.
        first: how many the first stage finds; None for 100 times k.
        by: how means compare; None for cosine.

    Returns:
        Scores (N, k) and indices (N, k), on the queries' device; -inf and -1 where there are fewer documents.

    Raises:
        ValueError: for a k below 1, and a `first` below k.
    """
    first = 100 * k if first is None else first
    if k < 1 or first < k:
        raise ValueError(f"k must be at least 1 and first at least k, got k={k} and first={first}")
    chunks = _pieces(documents) if isinstance(documents, Embeddings) else documents.chunks(_AT_ONCE)
    most = max(1, min(first, len(documents)))
    found = top_k(mean_vectors(queries), map(mean_vectors, chunks), most, by if by is not None else CosineScorer())
    scores = torch.full((len(queries), k), -torch.inf, device=queries.device)
    indices = torch.full((len(queries), k), -1, dtype=torch.long, device=queries.device)
    for row, places in enumerate(found.indices):
        own = places[places >= 0].sort().values  # of equal scores the first document comes first
        if len(own):
            parts = (documents.take(part.to(_device_of(documents))) for part in own.split(_AT_ONCE))
            best = top_k(queries.take(slice(row, row + 1)), parts, k, scorer)
            scores[row] = best.scores[0]
            indices[row] = torch.where(best.indices[0] < 0, -1, own[best.indices[0].clamp(min=0)])
    return Neighbours(scores, indices)


def mean_vectors(embeddings: Embeddings) -> Embeddings:
    """One vector an object, the mean of those that count; zeros for an object without any."""
    if not embeddings.is_multi_vector:
        return embeddings
    values = embeddings.blank().values
    if embeddings.mask is None:
        return Embeddings(values.mean(1))
    return Embeddings(values.sum(1) / embeddings.mask.sum(1, keepdim=True).clamp(min=1))


def _pieces(documents: Embeddings) -> Iterator[Embeddings]:
    return (documents.take(slice(start, start + _AT_ONCE)) for start in range(0, len(documents), _AT_ONCE))


def _device_of(documents: Embeddings | StoredEmbeddings) -> torch.device:
    return documents.device if isinstance(documents, Embeddings) else torch.device("cpu")
