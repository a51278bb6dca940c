"""Single vectors compared by a distance."""

from __future__ import annotations

from torch import Tensor

from simlearn.distances import Distance, normalize
from simlearn.embeddings import Embeddings
from simlearn.precision import at_least_single
from simlearn.ragged import entries
from simlearn.scoring.base import Scorer


class DistanceScorer(Scorer):
    """Compares single vectors by a distance: its similarity is the score.

    All is in at least fp32, whatever the embeddings' dtype or autocast. Objects of many vectors raise a ValueError.

    Args:
        distance: the distance or its name.
    """

    def __init__(self, distance: Distance | str = Distance.COSINE) -> None:
        super().__init__()
        self.distance = Distance(distance)
        self.is_product = self.distance in (Distance.COSINE, Distance.DOT_PRODUCT)
        self._measure = Distance.get_by_name(self.distance)

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """In at least fp32; unit length for cosine, where a zero vector stays zero."""
        values = self._vectors(embeddings)
        if self.distance is Distance.COSINE:
            return Embeddings(normalize(values))
        return Embeddings(values.to(at_least_single(values)))

    def reversed(self) -> Scorer:
        """This scorer, since a distance is the same both ways; not where a subclass scores or prepares otherwise."""
        same = all(getattr(type(self), name) is getattr(DistanceScorer, name) for name in _TWO_SIDED)
        return self if same else super().reversed()

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Of prepared vectors cosine and dot product are one matrix product, unless a subclass scores otherwise."""
        if self.is_product and type(self).forward is DistanceScorer.forward:
            return queries.values @ documents.values.T
        return super().tile(queries, documents)

    def tile_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Likewise: 1 − cosine, or the negated dot product."""
        if self.is_product and type(self).distances is DistanceScorer.distances:
            product = queries.values @ documents.values.T
            return 1.0 - product if self.distance is Distance.COSINE else -product
        return super().tile_distances(queries, documents)

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Similarities (N, M): cosine in [-1, 1], dot product unbounded, others 1 / (1 + distance)."""
        return self._measure.similarity_matrix(self._vectors(queries), self._vectors(documents))

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Similarities (N,) of query i and document i."""
        return self._measure.similarity(self._vectors(queries), self._vectors(documents))

    def candidates(self, queries: Embeddings, documents: Embeddings, offsets: Tensor) -> Tensor:
        """Similarities (M,) of each query's own candidates, pair by pair: without a look at how many each has."""
        return self.paired(queries.take(entries(offsets.diff(), len(documents)).owners), documents)

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N, M): cosine distance in [0, 2]."""
        return self._measure.distance_matrix(self._vectors(queries), self._vectors(documents))

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N,) of query i and document i."""
        return self._measure.distance(self._vectors(queries), self._vectors(documents))

    def _vectors(self, embeddings: Embeddings) -> Tensor:
        if embeddings.is_multi_vector:
            raise ValueError(
                f"{type(self).__name__} compares one vector with one vector, these objects have up to "
                f"{embeddings.values.shape[1]}; pool them in the encoder or configure a scorer for many vectors"
            )
        return embeddings.values


_TWO_SIDED = (
    *("forward", "tile", "distances", "tile_distances", "paired", "paired_distances"),
    *("prepare_queries", "prepare_documents", "cells"),
)
"""Methods that tell queries from documents. `prepare` does not: it is the same for both."""


class CosineScorer(DistanceScorer):
    """Cosine similarity, in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__(Distance.COSINE)


class DotScorer(DistanceScorer):
    """Dot product."""

    def __init__(self) -> None:
        super().__init__(Distance.DOT_PRODUCT)
