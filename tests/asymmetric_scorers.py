"""Scorers to which a query is not a document, ours and as users write them, and the same in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from loss_oracles import dot
from torch import Tensor, nn

from simlearn import scoring
from simlearn.embeddings import Embeddings
from simlearn.scoring import PolyAttention, Scorer

SIZE = 5


class MaxSim(Scorer):
    """The sum over a query's vectors of the best among the document's, as a user writes it."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = torch.einsum("nqd,mkd->nmqk", queries.values, documents.values)
        best = products.masked_fill(~documents.full_mask()[None, :, None], -torch.inf).amax(3)
        return best.masked_fill(~queries.full_mask()[:, None], 0.0).sum(2)

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return 1 - self(queries, documents)

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return 1 - self.paired(queries, documents)


class Bilinear(Scorer):
    """The product of a query, a learnt matrix and a document; of embeddings that were cut, with a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(5)) / 2)

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return queries.values @ self.weight[: queries.size, : documents.size] @ documents.values.T


class Prepared(Bilinear):
    """The same, which multiplies each query once."""

    def prepare_queries(self, queries: Embeddings) -> Embeddings:
        return Embeddings(queries.values @ self.weight[: queries.size, : queries.size])

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return queries.values @ documents.values.T

    def tile_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return 1 - self.tile(queries, documents)

    def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return 1 - self(queries, documents)

    def paired_distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return 1 - self.paired(queries, documents)


class LateInteraction(scoring.MaxSim):
    """Ours."""


class Attended(PolyAttention):
    """Ours: many vectors a query, one a document."""

    def __init__(self) -> None:
        super().__init__("sqrt", scale=1.5)


MANY_BY_MANY = (MaxSim, LateInteraction)


def best_of_each(query: list[list[float]], document: list[list[float]]) -> float:
    return sum(max(dot(x, y) for y in document) for x in query)


def bilinear(scorer: Bilinear) -> Callable[[Any, Any], float]:
    weight = scorer.weight.tolist()
    return lambda x, y: sum(a * weight[i][j] * b for i, a in enumerate(x) for j, b in enumerate(y))


def attended(query: list[list[float]], document: list[float]) -> float:
    products = [dot(x, document) for x in query]
    weights = [math.exp(one / math.sqrt(len(document))) for one in products]
    return 1.5 * sum(weight * one for weight, one in zip(weights, products, strict=True)) / sum(weights)


def plainly(scorer: Scorer) -> tuple[Callable[[Any, Any], float], float]:
    """A scorer in plain loops, and how far a distance lies above the negated score."""
    if isinstance(scorer, PolyAttention):
        return attended, 0.0
    score = bilinear(scorer) if isinstance(scorer, Bilinear) else best_of_each
    return score, float(type(scorer) in (MaxSim, Prepared))
