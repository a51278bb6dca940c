"""How embeddings compare: scores of queries against documents.

A scorer scores one tile of queries against one tile of documents, so that whoever needs the whole matrix can ask for it
in pieces. Cosine and dot product over single vectors are a matrix product of what `prepare` returns, which the callers
that walk many tiles use: prepare once, then multiply.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.components import Component
from simlearn.distances import Distance, normalize
from simlearn.embeddings import Embeddings


class Scorer(nn.Module, Component):
    """Scores queries against documents; higher is more similar.

    A subclass implements `forward`, and `paired` where it is cheaper than the diagonal of `forward`.
    """

    required: ClassVar[tuple[str, ...]] = ("forward",)
    is_product = False
    """Whether `forward` is a matrix product of the prepared embeddings."""

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """What can be done once for each embedding, before many tiles are scored. Default: nothing."""
        return embeddings

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N, M) of N queries against M documents, in at least fp32."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N,) of query i against document i."""
        rows = [slice(row, row + 1) for row in range(len(queries))] or [slice(0, 0)]
        return torch.cat([self(queries.take(row), documents.take(row)).diagonal() for row in rows])

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (n, M) of some prepared queries against prepared documents. Default: `forward`."""
        scores: Tensor = self(queries, documents)
        return scores

    def tile_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (n, M) of some prepared queries and prepared documents. Default: `distances`."""
        return self.distances(queries, documents)

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N, M), for losses with a margin. Default: the negated scores."""
        scores: Tensor = self(queries, documents)
        return -scores

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N,) of query i and document i. Default: the negated scores."""
        return -self.paired(queries, documents)


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
        return Embeddings(values.to(torch.promote_types(values.dtype, torch.float32)))

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


class CosineScorer(DistanceScorer):
    """Cosine similarity, in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__(Distance.COSINE)


class DotScorer(DistanceScorer):
    """Dot product."""

    def __init__(self) -> None:
        super().__init__(Distance.DOT_PRODUCT)


__all__ = ["CosineScorer", "DistanceScorer", "DotScorer", "Scorer"]
