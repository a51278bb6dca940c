"""How to make the losses of one family, and what they are in plain loops; read by `tests/contracts/test_losses.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from facts import Facts
from loss_oracles import Vector, similarity_of

from simlearn.losses import AnglELoss, CoSENTLoss, SimilarityLoss


def in_order(scale: float, similarities: list[float], scores: list[float]) -> float:
    """The loss as it is defined, over all pairs i and j."""
    total = 1.0
    for first, high in zip(similarities, scores, strict=True):
        for second, low in zip(similarities, scores, strict=True):
            total += math.exp(scale * (second - first)) if high > low else 0.0
    return math.log(total)


def cosent(loss: CoSENTLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    similarities = [similarity_of(loss, x, y) for x, y in zip(queries, documents, strict=True)]
    return in_order(loss.scale, similarities, facts.scores)


def angle_of(x: Vector, y: Vector) -> float:
    half = len(x) // 2
    norms = [math.sqrt(sum(value**2 for value in vector)) for vector in (x, y)]
    total = 0.0
    for a, b, c, d in zip(x[:half], x[half:], y[:half], y[half:], strict=True):
        product = complex(a, b) * complex(c, d).conjugate()
        total += product.real + product.imag
    return abs(total) / math.prod(norms)


def angle(loss: AnglELoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    similarities = [angle_of(x, y) for x, y in zip(queries, documents, strict=True)]
    return in_order(loss.scale, similarities, facts.scores)


# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {
    AnglELoss: [AnglELoss, lambda: AnglELoss(3.0)],
    CoSENTLoss: [
        CoSENTLoss,
        lambda: CoSENTLoss(1.0, "dot_product"),
        lambda: CoSENTLoss(10.0, "euclidean"),
    ],
}

# The value of each loss, from plain Python numbers; see `loss_oracles.ORACLES`.
ORACLES: dict[type[SimilarityLoss], Callable[..., float]] = {AnglELoss: angle, CoSENTLoss: cosent}

# Losses that take graded scores of pairs.
GRADED: tuple[type[Any], ...] = (AnglELoss, CoSENTLoss)

# The length of the vectors that each loss needs, where it is not any.
WIDTHS: dict[type[SimilarityLoss], int] = {AnglELoss: 6}
