"""How to make the losses of one family, and what they are in plain loops; read by `tests/contracts/test_losses.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from facts import Facts
from loss_oracles import Vector, distance_of, dot, mean, relu, sampling_bias, similarity_of

from simlearn.losses import (
    CentroidTripletLoss,
    CircleLoss,
    FastAPLoss,
    InfoNCELoss,
    MultiSimilarityLoss,
    NPairLoss,
    OnlineContrastiveLoss,
    PytorchMetricLearningWrapper,
    SigmoidLoss,
    SimilarityLoss,
)

# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {
    CentroidTripletLoss: [CentroidTripletLoss, lambda: CentroidTripletLoss(2.0, "euclidean")],
    # Not the default scale of 256: its gradient of vectors of length 1e-3 is more than fp16 can hold.
    CircleLoss: [lambda: CircleLoss(scale_factor=32.0), lambda: CircleLoss(0.4, 8.0)],
    FastAPLoss: [FastAPLoss, lambda: FastAPLoss(3)],
    InfoNCELoss: [
        InfoNCELoss,
        lambda: InfoNCELoss(0.5, learnable_temperature=True, positives="supcon", margin=0.2),
        lambda: InfoNCELoss(2.0, symmetric=False, positives="any", distance_metric_name="dot_product"),
        lambda: InfoNCELoss(0.5, learnable_temperature=True, positives="supcon", margin=0.2, log_q=True),
        lambda: InfoNCELoss(0.1, learnable_temperature=True, distance_metric_name="euclidean", margin=0.3),
    ],
    MultiSimilarityLoss: [
        MultiSimilarityLoss,
        lambda: MultiSimilarityLoss(3.0, 7.0, 0.2, epsilon=None),
        lambda: MultiSimilarityLoss(1.0, 2.0, 0.0, 0.5, "dot_product"),
    ],
    NPairLoss: [NPairLoss, lambda: NPairLoss(0.0, None)],
    OnlineContrastiveLoss: [
        OnlineContrastiveLoss,
        lambda: OnlineContrastiveLoss(4.0, "manhattan"),
        lambda: OnlineContrastiveLoss(0.8, mining="all"),
    ],
    PytorchMetricLearningWrapper: [
        lambda: PytorchMetricLearningWrapper("MultiSimilarityLoss"),
        lambda: PytorchMetricLearningWrapper("MultiSimilarityLoss", "MultiSimilarityMiner"),
    ],
    SigmoidLoss: [SigmoidLoss, lambda: SigmoidLoss(2.0, -0.5, "dot_product")],
}

# Losses that hold a part of their value constant in the backward pass, as their papers do.
DETACHED: tuple[type[Any], ...] = (CircleLoss,)


def _logsumexp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _rows(
    loss: Any, facts: Facts, queries: list[Vector], documents: list[Vector], compare: Callable[..., float]
) -> list[tuple[list[float], list[float]]]:
    """What each query's positives and negatives compare to."""
    return [
        (
            [compare(loss, query, documents[column]) for column in facts.positives(row)],
            [compare(loss, query, documents[column]) for column in facts.negatives(row)],
        )
        for row, query in enumerate(queries)
    ]


def centroid_triplet(loss: CentroidTripletLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    def centroid(group: int, without: int) -> Vector | None:
        members = [v for row, v in enumerate(documents) if facts.groups[row] == group and row != without]
        return [mean(list(column)) for column in zip(*members, strict=True)] if members else None

    terms = []
    for row, vector in enumerate(queries):
        own = centroid(facts.groups[row], row)
        others = [centroid(group, -1) for group in set(facts.groups) - {facts.groups[row]}]
        if own and others:
            nearest = min(distance_of(loss, vector, other) for other in others if other)
            terms.append(relu(distance_of(loss, vector, own) - nearest + loss.margin))
    return mean(terms)


def circle(loss: CircleLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    m, gamma, terms = loss.margin, loss.scale_factor, []
    for positives, negatives in _rows(loss, facts, queries, documents, similarity_of):
        if positives and negatives:
            pull = _logsumexp([-gamma * relu(1 + m - s) * (s - (1 - m)) for s in positives])
            push = _logsumexp([gamma * relu(s + m) * (s - m) for s in negatives])
            terms.append(_logsumexp([0.0, pull + push]))
    return mean(terms)


def fast_ap(loss: FastAPLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    def pulse(distance: float, centre: int) -> float:
        return relu(1 - abs(2 * distance * loss.num_bins / 4 - centre))

    terms = []
    for positives, negatives in _rows(loss, facts, queries, documents, distance_of):
        average = similar = found = 0.0
        for centre in range(loss.num_bins + 1):
            here = sum(pulse(d, centre) for d in positives)
            similar += here
            found += here + sum(pulse(d, centre) for d in negatives)
            average += here * similar / found if found else 0.0
        if positives:
            terms.append(1 - average / len(positives) if negatives else 0.0)
    return mean(terms)


def infonce(loss: InfoNCELoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    def logit(query: int, document: int, back: bool = False) -> float:
        score = similarity_of(loss, queries[query], documents[document])
        logit = (score - loss.margin * facts.positive(query, document)) / loss.temperature
        return logit - sampling_bias(loss, facts, query, document, back)

    def row(positives: list[float], negatives: list[float]) -> float:
        if not negatives:
            return 0.0
        if loss.positives == "any":
            return _logsumexp(positives + negatives) - _logsumexp(positives)
        if loss.positives == "supcon":
            return _logsumexp(positives + negatives) - mean(positives)
        return mean([_logsumexp([s, *negatives]) - s for s in positives])

    pairs = [(i, j) for i in range(len(queries)) for j in range(len(documents))]

    def direction(anchors: int, side: int) -> float:
        rows = []
        for anchor in range(anchors):
            own = [pair for pair in pairs if pair[side] == anchor]
            positives = [logit(*pair, side == 1) for pair in own if facts.positive(*pair)]
            if positives:
                rows.append(row(positives, [logit(*pair, side == 1) for pair in own if facts.negative(*pair)]))
        return mean(rows)

    value = direction(len(queries), 0)
    return value if not loss.symmetric or facts.shared else (value + direction(len(documents), 1)) / 2


def multi_similarity(loss: MultiSimilarityLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    def term(weight: float, gaps: list[float]) -> float:
        return _logsumexp([0.0, *(weight * gap for gap in gaps)]) / weight

    terms = []
    for positives, negatives in _rows(loss, facts, queries, documents, similarity_of):
        kept, against = positives, negatives
        if loss.epsilon is not None:
            kept = [s for s in positives if any(s - loss.epsilon < n for n in negatives)]
            against = [s for s in negatives if any(s + loss.epsilon > p for p in positives)]
        terms.append(term(loss.alpha, [loss.base - s for s in kept]))
        terms[-1] += term(loss.beta, [s - loss.base for s in against])
    return mean(terms)


def n_pair(loss: NPairLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    terms = []
    for positives, negatives in _rows(loss, facts, queries, documents, similarity_of):
        if positives:
            rows = [math.log1p(sum(math.exp(n - p) for n in negatives)) for p in positives]
            terms.append(mean(rows))
    norms = mean([dot(x, x) for x in queries]) + mean([dot(x, x) for x in documents])
    return mean(terms) + loss.l2_weight * norms / 2


def online_contrastive(
    loss: OnlineContrastiveLoss, facts: Facts, queries: list[Vector], documents: list[Vector]
) -> float:
    pull, push = [], []
    for positives, negatives in _rows(loss, facts, queries, documents, distance_of):
        gaps = [relu(loss.margin - d) for d in negatives]
        hard = loss.mining == "hard"
        pull += [max(positives)] if hard and positives else positives
        push += [max(gaps)] if hard and gaps else gaps
    return (mean(pull) + mean(push)) / 2


def wrapped(loss: PytorchMetricLearningWrapper, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    """Theirs knows no ids, and gives 0 where no anchor has two pairs."""
    ours = MultiSimilarityLoss(epsilon=None if loss.miner is None else 0.1)
    return multi_similarity(ours, replace(facts, query_ids=None, document_ids=None), queries, documents)


def sigmoid(loss: SigmoidLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    scale, bias, total = math.exp(loss.log_scale.item()), loss.bias.item(), 0.0
    for positives, negatives in _rows(loss, facts, queries, documents, similarity_of):
        total += sum(_logsumexp([0.0, -(scale * s + bias)]) for s in positives)
        total += sum(_logsumexp([0.0, scale * s + bias]) for s in negatives)
    return total / max(len(queries), 1)


# The value of each loss, from plain Python numbers; see `loss_oracles.ORACLES`.
ORACLES: dict[type[SimilarityLoss], Callable[..., float]] = {
    CentroidTripletLoss: centroid_triplet,
    CircleLoss: circle,
    FastAPLoss: fast_ap,
    InfoNCELoss: infonce,
    MultiSimilarityLoss: multi_similarity,
    NPairLoss: n_pair,
    OnlineContrastiveLoss: online_contrastive,
    PytorchMetricLearningWrapper: wrapped,
    SigmoidLoss: sigmoid,
}

# Losses that take graded scores of pairs.
GRADED: tuple[type[Any], ...] = ()
