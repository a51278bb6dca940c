"""How to make the losses of one family, and what they are in plain loops; read by `tests/contracts/test_losses.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from facts import Facts
from loss_oracles import Vector, mean, relu, similarity_of

from simlearn.losses import (
    AnglELoss,
    CoSENTLoss,
    KLDistillationLoss,
    ListwiseSoftmaxLoss,
    MarginMSELoss,
    PairwiseMarginRankingLoss,
    SimilarityLoss,
)


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


def lists(loss: Any, facts: Facts, queries: list[Vector], documents: list[Vector]) -> list[list[tuple[float, float]]]:
    """Score and relevance of each candidate of each query."""
    found: list[list[tuple[float, float]]] = [[] for _ in queries]
    for query, document, relevance in facts.given():
        found[query].append((loss.scale * similarity_of(loss, queries[query], documents[document]), relevance))
    return found


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    total = sum(math.exp(value - top) for value in values)
    return [math.exp(value - top) / total for value in values]


def pairwise(loss: PairwiseMarginRankingLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    rows = []
    for candidates in lists(loss, facts, queries, documents):
        gaps = [high - low for high, more in candidates for low, less in candidates if more > less]
        if gaps and loss.margin is None:
            rows.append(mean([math.log1p(math.exp(-gap)) for gap in gaps]))
        elif gaps and loss.margin is not None:
            rows.append(mean([relu(loss.margin - gap) for gap in gaps]))
    return mean(rows)


def listwise(loss: ListwiseSoftmaxLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    rows = []
    for candidates in lists(loss, facts, queries, documents):
        total = sum(relevance for _, relevance in candidates)
        if len(candidates) > 1 and total > 0:
            logs = [math.log(p) for p in softmax([score for score, _ in candidates])]
            rows.append(-sum(relevance / total * log for log, (_, relevance) in zip(logs, candidates, strict=True)))
    return mean(rows)


def divergence(loss: KLDistillationLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    rows = []
    for candidates in lists(loss, facts, queries, documents):
        if len(candidates) > 1:
            student = softmax([score / loss.temperature for score, _ in candidates])
            teacher = softmax([relevance / loss.temperature for _, relevance in candidates])
            terms = [t * math.log(t / s) for s, t in zip(student, teacher, strict=True)]
            rows.append(loss.temperature**2 * sum(terms))
    return mean(rows)


def margin_mse(loss: MarginMSELoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    rows = []
    for candidates in lists(loss, facts, queries, documents):
        if len(candidates) > 1:
            against = candidates[:1] if loss.margins == "first" else candidates
            pairs = [(one, other) for row, one in enumerate(against) for other in candidates[row + 1 :]]
            rows.append(mean([((s - z) - (t - u)) ** 2 for (s, t), (z, u) in pairs]))
    return mean(rows)


# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {
    AnglELoss: [AnglELoss, lambda: AnglELoss(3.0)],
    CoSENTLoss: [
        CoSENTLoss,
        lambda: CoSENTLoss(1.0, "dot_product"),
        lambda: CoSENTLoss(10.0, "euclidean"),
    ],
    KLDistillationLoss: [
        KLDistillationLoss,
        lambda: KLDistillationLoss(3.0, 1.0, "dot_product"),
    ],
    ListwiseSoftmaxLoss: [
        ListwiseSoftmaxLoss,
        lambda: ListwiseSoftmaxLoss(1.0, "dot_product"),
        lambda: ListwiseSoftmaxLoss(10.0, "euclidean"),
    ],
    # The square of a dot product of huge vectors has no gradient in half precision; tests/losses has it in single.
    MarginMSELoss: [
        lambda: MarginMSELoss(distance_metric_name="cosine"),
        lambda: MarginMSELoss("all", 3.0, None),
    ],
    PairwiseMarginRankingLoss: [
        PairwiseMarginRankingLoss,
        lambda: PairwiseMarginRankingLoss(2.0, 1.0, "dot_product"),
        lambda: PairwiseMarginRankingLoss(None, 20.0),
        lambda: PairwiseMarginRankingLoss(None, 1.0, "manhattan"),
    ],
}

# The value of each loss, from plain Python numbers; see `loss_oracles.ORACLES`.
ORACLES: dict[type[SimilarityLoss], Callable[..., float]] = {
    AnglELoss: angle,
    CoSENTLoss: cosent,
    KLDistillationLoss: divergence,
    ListwiseSoftmaxLoss: listwise,
    MarginMSELoss: margin_mse,
    PairwiseMarginRankingLoss: pairwise,
}

# Losses that take graded scores of pairs.
GRADED: tuple[type[Any], ...] = (AnglELoss, CoSENTLoss)

# The length of the vectors that each loss needs, where it is not any.
WIDTHS: dict[type[SimilarityLoss], int] = {AnglELoss: 6}
