"""Every loss of the library once more, in plain loops over Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from facts import Facts
from torch import Tensor

from simlearn.distances import Distance
from simlearn.losses import ContrastiveLoss, MultipleNegativesRankingLoss, SoftmaxLoss, TripletLoss

Vector = list[float]


# What a scorer makes of a query and a document, in plain loops, and how far a distance lies above the negated score.
_COMPARED: list[tuple[Callable[[Any, Any], float], float]] = []


@contextmanager
def compared_by(score: Callable[[Any, Any], float], above: float) -> Iterator[None]:
    """Compare by a scorer in place of the losses' own distances."""
    _COMPARED.append((score, above))
    try:
        yield
    finally:
        _COMPARED.pop()


def dot(x: Any, y: Any) -> float:
    """Of two vectors, or of objects with as many vectors each."""
    return sum(dot(a, b) if isinstance(a, list) else a * b for a, b in zip(x, y, strict=True))


def distance_of(loss: Any, x: Vector, y: Vector) -> float:
    if _COMPARED:
        score, above = _COMPARED[-1]
        return above - score(x, y)
    differences = [a - b for a, b in zip(x, y, strict=True)]
    return {
        Distance.COSINE: lambda: 1 - dot(x, y) / math.sqrt(dot(x, x) * dot(y, y)),
        Distance.DOT_PRODUCT: lambda: -dot(x, y),
        Distance.EUCLIDEAN: lambda: math.sqrt(dot(differences, differences)),
        Distance.MANHATTAN: lambda: sum(map(abs, differences)),
    }[loss.distance or Distance.COSINE]()


def similarity_of(loss: Any, x: Vector, y: Vector) -> float:
    if _COMPARED:
        return _COMPARED[-1][0](x, y)
    distance = distance_of(loss, x, y)
    if loss.distance in (None, Distance.COSINE):
        return 1 - distance
    return -distance if loss.distance is Distance.DOT_PRODUCT else 1 / (1 + distance)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def relu(value: float) -> float:
    return max(value, 0.0)


def contrastive(loss: ContrastiveLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    total = 0.0
    for row, score in enumerate(facts.scores):
        d = distance_of(loss, queries[row], documents[row])
        total += 0.5 * (score * d**2 + (1 - score) * relu(loss.margin - d) ** 2)
    if any(pair != (0, 0) for pair in facts.subgroups or []):
        vectors = queries + documents
        subgroups = [a for a, _ in facts.subgroups or []] + [b for _, b in facts.subgroups or []]
        known = facts.query_ids is not None and facts.document_ids is not None
        ids = (facts.query_ids or []) + (facts.document_ids or []) if known else list(range(len(vectors)))
        for row, vector in enumerate(vectors):
            others = [
                distance_of(loss, vector, other)
                for column, other in enumerate(vectors)
                if subgroups[row] != subgroups[column] and ids[row] != ids[column]
            ]
            total += relu(loss.margin - min(others)) ** 2 if others else 0.0
    return total / max(len(queries), 1) if loss.size_average else total


def sampling_bias(loss: Any, facts: Facts, query: int, document: int, back: bool) -> float:
    """What `log_q` takes from a logit."""
    if facts.log_q is None:
        return 0.0
    if loss.log_q == "all":
        return facts.log_q[document]
    if back or facts.positive(query, document):
        return 0.0
    return facts.log_q[document] + math.log(max(1, facts.n_documents - 1))


def multiple_negatives(
    loss: MultipleNegativesRankingLoss, facts: Facts, queries: list[Vector], documents: list[Vector]
) -> float:
    def score(query: int, document: int, back: bool = False) -> float:
        similarity = loss.scale * similarity_of(loss, queries[query], documents[document])
        return similarity - sampling_bias(loss, facts, query, document, back)

    def direction(scores: dict[int, dict[int, float]], kinds: Callable[[int, int], tuple[bool, bool]]) -> float:
        rows = []
        for anchor, columns in scores.items():
            positives = [s for other, s in columns.items() if kinds(anchor, other)[0]]
            negatives = [s for other, s in columns.items() if kinds(anchor, other)[1]]
            against = sum(math.exp(s) for s in negatives)
            if positives:
                rows.append(mean([math.log(math.exp(s) + against) - s for s in positives]) if negatives else 0.0)
        return mean(rows)

    forth = {i: {j: score(i, j) for j in range(len(documents))} for i in range(len(queries))}
    value = direction(forth, lambda i, j: (facts.positive(i, j), facts.negative(i, j)))
    if not loss.symmetric or facts.shared:
        return value
    back = {j: {i: score(i, j, True) for i in range(len(queries))} for j in range(len(documents))}
    return (value + direction(back, lambda j, i: (facts.positive(i, j), facts.negative(i, j)))) / 2


def triplet(loss: TripletLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    anchors = []
    for row, query in enumerate(queries):
        positives = [distance_of(loss, query, documents[column]) for column in facts.positives(row)]
        negatives = [distance_of(loss, query, documents[column]) for column in facts.negatives(row)]
        if positives and negatives:
            anchors.append((positives, negatives))
    if loss.mining in ("all", "random"):  # of so many random ones that none is left out
        terms = [p - n + loss.margin for positives, negatives in anchors for p in positives for n in negatives]
        return mean([max(term, 0.0) for term in terms if term > 0 or loss.average == "all"])
    if loss.mining == "semi_hard":
        chosen = []
        for positives, negatives in anchors:
            for p in positives:
                beyond = [n for n in negatives if n > p]
                chosen.append(relu(p - (min(beyond) if beyond else max(negatives)) + loss.margin))
        return mean(chosen)
    gaps = [max(positives) - min(negatives) for positives, negatives in anchors]
    if loss.soft:
        return mean([math.log1p(math.exp(gap)) for gap in gaps])
    scale = max(mean([abs(min(negatives)) for _, negatives in anchors]), 1e-6)
    return mean([relu(gap / scale + loss.margin) for gap in gaps])


def softmax(loss: SoftmaxLoss, facts: Facts, queries: list[Vector], documents: list[Vector]) -> float:
    used = len(set(loss.class_ids.tolist()) - {2**63 - 1})
    classes = loss.class_ids.tolist()[:used]
    kernel = loss.kernel.detach().double().T.tolist()[:used]
    terms = []
    for vector, group in zip(queries, facts.groups, strict=True):
        if group in classes:
            logits = [dot(vector, column) / loss.temperature for column in kernel]
            top = max(logits)
            terms.append(top + math.log(sum(math.exp(x - top) for x in logits)) - logits[classes.index(group)])
    return mean(terms)


ORACLES: dict[type, Callable[..., float]] = {
    ContrastiveLoss: contrastive,
    MultipleNegativesRankingLoss: multiple_negatives,
    SoftmaxLoss: softmax,
    TripletLoss: triplet,
}


def oracle(loss: Any, facts: Facts, queries: Tensor, documents: Tensor) -> float:
    """The loss of a batch, by plain loops."""
    return ORACLES[type(loss)](loss, facts, queries.double().tolist(), documents.double().tolist())
