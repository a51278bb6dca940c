"""How to make the losses of one family, and what they are in plain loops; read by `tests/contracts/test_losses.py`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from facts import Facts
from loss_oracles import ORACLES as ALL_ORACLES
from loss_oracles import Vector, dot, mean

from simlearn.losses import (
    ArcFaceLoss,
    CenterLoss,
    ClassLoss,
    ContrastiveLoss,
    CosFaceLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    ProxyAnchorLoss,
    SampledSoftmaxLoss,
    SimilarityLoss,
    SoftmaxLoss,
    SumLoss,
    TripletLoss,
)
from simlearn.relations import RelationKind

SIZE = 5
# Groups and labels that `random_facts` gives; it gives 2**60 besides.
CLASSES = (3, 4, 2**62, -1, 0, 5)
COUNTS = {3: 100, 4: 3, 2**62: 20, -1: 1, 0: 5, 5: 9}

# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {
    ArcFaceLoss: [
        lambda: ArcFaceLoss(SIZE, 6, scale=8, classes=CLASSES),
        lambda: ArcFaceLoss(SIZE, 9, scale=8, margin=(0.2, 1.2), sub_centers=3, classes=COUNTS),
    ],
    CenterLoss: [lambda: CenterLoss(SIZE, 6, classes=CLASSES), lambda: CenterLoss(SIZE, 7, 2.0, CLASSES[1:])],
    CosFaceLoss: [
        lambda: CosFaceLoss(SIZE, 6, scale=8, classes=CLASSES),
        lambda: CosFaceLoss(SIZE, 7, margin=0.0, scale=16, classes=CLASSES[1:]),
    ],
    MatryoshkaLoss: [
        lambda: MatryoshkaLoss(TripletLoss(mining="semi_hard"), [3, SIZE]),
        lambda: MatryoshkaLoss(MultipleNegativesRankingLoss(3.0), [1, 3], [0.5, 2.0]),
        lambda: MatryoshkaLoss(SoftmaxLoss(SIZE, 6, 0.5, CLASSES), [2, SIZE]),
        lambda: MatryoshkaLoss(SumLoss([CosFaceLoss(SIZE, 6, 0.2, 4, CLASSES), TripletLoss()]), [3, 4]),
    ],
    ProxyAnchorLoss: [
        lambda: ProxyAnchorLoss(SIZE, 6, scale=8, classes=CLASSES),
        lambda: ProxyAnchorLoss(SIZE, 9, 0.3, 2, CLASSES[1:]),
    ],
    SampledSoftmaxLoss: [
        lambda: SampledSoftmaxLoss(SIZE, 6, temperature=0.5, classes=CLASSES),
        lambda: SampledSoftmaxLoss(SIZE, 9, 20, temperature=0.5, classes=CLASSES[1:]).eval(),
    ],
    SoftmaxLoss: [
        lambda: SoftmaxLoss(SIZE, 6, classes=CLASSES),
        lambda: SoftmaxLoss(SIZE, 7, temperature=0.5, classes=CLASSES[1:]),
    ],
    SumLoss: [
        lambda: SumLoss([TripletLoss(), MultipleNegativesRankingLoss(4.0)], [0.5, 2.0]),
        lambda: SumLoss(
            {"apart": CosFaceLoss(SIZE, 6, scale=8, classes=CLASSES), "near": CenterLoss(SIZE, 6, 1, [3, 5])}
        ),
        lambda: SumLoss({"pairs": ContrastiveLoss("euclidean", 2.0), "rows": MultipleNegativesRankingLoss(2.0)}),
    ],
}


def classes_of(loss: ClassLoss, facts: Facts) -> list[list[int]]:
    """The classes of each object, by their place."""
    known = [one for one in loss.class_ids.tolist() if one != 2**63 - 1]
    many = [[group] for group in facts.groups] if facts.kind is RelationKind.GROUPS else facts.labels
    return [[known.index(one) for one in own if one in known] for own in many]


def columns(loss: ClassLoss) -> list[Vector]:
    kernel = loss.kernel.detach().double()
    rows: list[Vector] = (kernel if isinstance(loss, SampledSoftmaxLoss) else kernel.T).tolist()
    return rows


def cosine(x: Vector, y: Vector) -> float:
    lengths = math.sqrt(dot(x, x) * dot(y, y))
    return dot(x, y) / lengths if lengths else 0.0


def log_softmax(logits: Vector, own: int) -> float:
    top = max(logits)
    return logits[own] - top - math.log(sum(math.exp(x - top) for x in logits))


def softmax(loss: Any, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    used = int((loss.class_ids != 2**63 - 1).sum())
    rows = []
    for vector, own in zip(queries, classes_of(loss, facts), strict=True):
        logits = [dot(vector, column) / loss.temperature for column in columns(loss)[:used]]
        rows += [mean([-log_softmax(logits, one) for one in own])] if own else []
    return mean(rows)


def margin_softmax(loss: Any, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    used = int((loss.class_ids != 2**63 - 1).sum())

    def harder(value: float, one: int) -> float:
        if isinstance(loss, CosFaceLoss):
            return value - loss.margin
        margin = float(loss.margins[one])
        angle = math.acos(value)
        return math.cos(angle + margin) if angle < math.pi - margin else value + math.cos(margin) - 1

    rows = []
    for vector, own in zip(queries, classes_of(loss, facts), strict=True):
        centers = columns(loss)
        k = loss.vectors
        values = [max(cosine(vector, center) for center in centers[one * k : one * k + k]) for one in range(used)]
        logits = [loss.scale * (harder(x, one) if one in own else x) for one, x in enumerate(values)]
        rows += [mean([-log_softmax(logits, one) for one in own])] if own else []
    return mean(rows)


def center(loss: CenterLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    rows = []
    for vector, own in zip(queries, classes_of(loss, facts), strict=True):
        unit = [x / math.sqrt(dot(vector, vector)) for x in vector]
        squares = [mean([(x - y) ** 2 for x, y in zip(unit, columns(loss)[one], strict=True)]) for one in own]
        rows += [loss.lambda_c * mean(squares)] if own else []
    return mean(rows)


def proxy_anchor(loss: ProxyAnchorLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    objects = [(x, own) for x, own in zip(queries, classes_of(loss, facts), strict=True) if own]
    near, far = [], []
    for one in range(int((loss.class_ids != 2**63 - 1).sum())):
        proxy = columns(loss)[one]
        positives = [cosine(x, proxy) for x, own in objects if one in own]
        negatives = [cosine(x, proxy) for x, own in objects if one not in own]
        if positives:
            near.append(math.log1p(sum(math.exp(-loss.scale * (s - loss.margin)) for s in positives)))
        far.append(math.log1p(sum(math.exp(loss.scale * (s + loss.margin)) for s in negatives)))
    return mean(near) + mean(far)


def matryoshka(loss: MatryoshkaLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    total = 0.0
    for size, weight in zip(loss.dims, loss.weights, strict=True):
        inner = copy.deepcopy(loss.loss)
        for part in inner.modules():
            if isinstance(part, ClassLoss):
                part.kernel = torch.nn.Parameter(part.kernel[:size])
        cut = [x[:size] for x in queries], [x[:size] for x in documents]
        total += weight * ALL_ORACLES[type(inner)](inner, facts, *cut)
    return total


def weighted_sum(loss: SumLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    total = 0.0
    for part, weight in zip(loss.losses.values(), loss.weights, strict=True):
        part = copy.deepcopy(part)
        part.distance = loss.distance  # all of them compare as the sum does
        total += weight * ALL_ORACLES[type(part)](part, facts, queries, documents)
    return total


# The value of each loss, from plain Python numbers; see `loss_oracles.ORACLES`.
ORACLES: dict[type[SimilarityLoss], Callable[..., float]] = {
    ArcFaceLoss: margin_softmax,
    CenterLoss: center,
    CosFaceLoss: margin_softmax,
    MatryoshkaLoss: matryoshka,
    ProxyAnchorLoss: proxy_anchor,
    SampledSoftmaxLoss: softmax,
    SoftmaxLoss: softmax,
    SumLoss: weighted_sum,
}

# Losses that take graded scores of pairs.
GRADED: tuple[type[Any], ...] = ()
