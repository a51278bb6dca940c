"""The base of all scorers: scores of queries against documents.

A scorer scores one tile of queries against one tile of documents, so that whoever needs the whole matrix can ask for it
in pieces; it says what one pair costs (`cells`), and scores the other way round when documents ask (`reversed`). Cosine
and dot product over single vectors are a matrix product of what `prepare` returns, which the callers that walk many
tiles use: prepare once, then multiply.
"""

from __future__ import annotations

from math import isqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.components import Component
from simlearn.embeddings import Embeddings

_PAIRED_CELLS = 2**14
"""Floats that a block of `paired` may cost: it scores all against all, of which it needs the diagonal."""


class Scorer(nn.Module, Component):
    """Scores queries against documents; higher is more similar.

    A subclass implements `forward`, and `paired` where it is cheaper than the diagonal of `forward`. What can be done
    once for each embedding it does in `prepare`, or, where the two sides differ, in `prepare_queries` and
    `prepare_documents`.
    """

    required: ClassVar[tuple[str, ...]] = ("forward",)
    is_product = False
    """Whether `forward` is a matrix product of the prepared embeddings."""

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """What can be done once for each embedding, before many tiles are scored. Default: nothing."""
        return embeddings

    def prepare_queries(self, queries: Embeddings) -> Embeddings:
        """What can be done once for each query. Default: `prepare`."""
        return self.prepare(queries)

    def prepare_documents(self, documents: Embeddings) -> Embeddings:
        """What can be done once for each document. Default: `prepare`."""
        return self.prepare(documents)

    def reversed(self) -> Scorer:
        """The scorer of documents that ask for queries: its scores (M, N) are the transpose of these.

        It has the parameters of this scorer. Whoever scores both ways, such as a symmetric loss, takes both.
        """
        return _Reversed(self)

    def cells(self, queries: Embeddings, documents: Embeddings) -> int:
        """How many floats `tile` holds for one query and one document, at least 1; what tiles are cut by.

        Default: each vector of the one with each of the other, 1 for single vectors.

        Args:
            queries: some prepared queries.
            documents: some prepared documents.
        """
        return max(1, _vectors(queries)) * max(1, _vectors(documents))

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N, M) of N queries against M documents, in at least fp32."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N,) of query i against document i. Default: the diagonals of small blocks of `forward`."""
        step = max(1, isqrt(_PAIRED_CELLS // self.cells(queries, documents)))
        rows = [slice(start, start + step) for start in range(0, max(1, len(queries)), step)]
        return torch.cat([self(queries.take(block), documents.take(block)).diagonal() for block in rows])

    def candidates(self, queries: Embeddings, documents: Embeddings, offsets: Tensor) -> Tensor:
        """Scores (M,) of each query's own candidates, query after query. Default: `forward` once a query.

        Args:
            queries: N embeddings.
            documents: M embeddings.
            offsets: (N + 1,) int64, from 0 to M: the candidates of query i stand from `offsets[i]` to `offsets[i + 1]`.
        """
        counts: list[int] = offsets.diff().tolist()
        rows = [(row, own) for row, own in enumerate(documents.split(counts)) if len(own)]
        if not rows:  # an empty tile has the dtype of scores, and stays in the graph
            return self.paired(queries.take(slice(0, 0)), documents)
        return torch.cat([self(queries.take(slice(row, row + 1)), own)[0] for row, own in rows])

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (n, M) of some prepared queries against prepared documents. Default: `forward`."""
        scores: Tensor = self(queries, documents)
        return scores

    def tile_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (n, M) of some prepared queries and documents.

        Default: `distances`; where nobody defines these the negated scores of `tile`, which may be given what `forward`
        cannot take.
        """
        if type(self).distances is Scorer.distances:
            return -self.tile(queries, documents)
        return self.distances(queries, documents)

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N, M), for losses with a margin. Default: the negated scores."""
        scores: Tensor = self(queries, documents)
        return -scores

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Distances (N,) of query i and document i. Default: the negated scores."""
        return -self.paired(queries, documents)


class _Reversed(Scorer):
    """See `Scorer.reversed`."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer
        self.is_product = scorer.is_product

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        return self.scorer.prepare(embeddings)

    def prepare_queries(self, queries: Embeddings) -> Embeddings:
        return self.scorer.prepare_documents(queries)

    def prepare_documents(self, documents: Embeddings) -> Embeddings:
        return self.scorer.prepare_queries(documents)

    def reversed(self) -> Scorer:
        return self.scorer

    def cells(self, queries: Embeddings, documents: Embeddings) -> int:
        return self.scorer.cells(documents, queries)

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        scores: Tensor = self.scorer(documents, queries)
        return scores.T

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return self.scorer.paired(documents, queries)

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return self.scorer.tile(documents, queries).T

    def tile_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return self.scorer.tile_distances(documents, queries).T

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return self.scorer.distances(documents, queries).T

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return self.scorer.paired_distances(documents, queries)


def _vectors(embeddings: Embeddings) -> int:
    return embeddings.values.shape[1] if embeddings.is_multi_vector else 1
