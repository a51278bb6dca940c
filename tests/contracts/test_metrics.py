"""What every metric of rankings must keep to: a new one needs an oracle here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch

from simlearn.evaluation import Qrels, Ranking, metric_names, retrieval_metric

# One query: the grades of what was found, best first, those of all judged documents, and the level of relevance.
Oracle = Callable[[list[float], list[float], float], float]


def n_relevant(judged: list[float], level: float) -> int:
    return sum(grade >= level for grade in judged)


def precision(found: list[float], judged: list[float], level: float, k: int) -> float:
    return sum(grade >= level for grade in found[:k]) / k


def recall(found: list[float], judged: list[float], level: float, k: int) -> float:
    return sum(grade >= level for grade in found[:k]) / n_relevant(judged, level)


def hit_rate(found: list[float], judged: list[float], level: float, k: int) -> float:
    return float(any(grade >= level for grade in found[:k]))


def mrr(found: list[float], judged: list[float], level: float, k: int = 10**6) -> float:
    for place, grade in enumerate(found[:k], start=1):
        if grade >= level:
            return 1 / place
    return 0.0


def average_precision(found: list[float], judged: list[float], level: float, k: int = 10**6) -> float:
    total = 0.0
    for place, grade in enumerate(found[:k], start=1):
        if grade >= level:
            total += precision(found, judged, level, place)
    return total / n_relevant(judged, level)


def map_at_r(found: list[float], judged: list[float], level: float) -> float:
    return average_precision(found, judged, level, n_relevant(judged, level))


def r_precision(found: list[float], judged: list[float], level: float) -> float:
    return precision(found, judged, level, n_relevant(judged, level))


def ndcg(found: list[float], judged: list[float], level: float, k: int = 10**6, exponential: bool = False) -> float:
    def discounted(grades: list[float]) -> float:
        gains = [max(grade, 0.0) for grade in grades[:k]]
        return sum(
            (2**gain - 1 if exponential else gain) / math.log2(place + 1) for place, gain in enumerate(gains, start=1)
        )

    ideal = discounted(sorted(judged, reverse=True))
    return discounted(found) / ideal if ideal > 0 else math.nan


ORACLES: dict[str, Callable[..., float]] = {
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
    "map@r": map_at_r,
    "r_precision": r_precision,
    "ndcg": ndcg,
    "ndcg_exp": partial(ndcg, exponential=True),
}
CUTOFFS = (1, 3, 10, 500)
CASES: dict[str, Oracle] = {}
for base, cutoff in metric_names().items():
    if cutoff != "required":
        CASES[base] = ORACLES[base]
    if cutoff != "none":
        CASES.update({f"{base}@{k}": partial(ORACLES[base], k=k) for k in CUTOFFS})

each_metric = pytest.mark.parametrize("name", CASES)
each_level = pytest.mark.parametrize("level", [None, 2.0])


def random_case(seed: int, n_queries: int = 40, depth: int = 30, n_documents: int = 60) -> tuple[torch.Tensor, Qrels]:
    """Rankings (N, K) and judgements: some queries without any, some with more relevant documents than places, grades
    from -1 to 3, relevant documents that are not found, lists that end early."""
    generator = torch.Generator().manual_seed(seed)
    indices, documents, grades = [], [], []
    for query in range(n_queries):
        order = torch.randperm(n_documents, generator=generator)
        row = order[:depth].clone()
        row[int(torch.randint(0, depth + 1, (), generator=generator)) if query % 4 == 0 else depth :] = -1
        indices.append(row)
        judged = torch.randperm(n_documents, generator=generator)[: (0, 1, 5, 50)[query % 4 if query % 8 else 0]]
        documents.append(judged.tolist())
        grades.append((torch.randint(-1, 4, (len(judged),), generator=generator) * (query % 7 != 3)).tolist())
    return torch.stack(indices), Qrels.from_lists(documents, grades)


def by_loops(name: str, indices: torch.Tensor, qrels: Qrels, level: float | None) -> torch.Tensor:
    values = []
    for query, row in enumerate(indices.tolist()):
        mine = slice(int(qrels.offsets[query]), int(qrels.offsets[query + 1]))
        grade = dict(zip(qrels.documents[mine].tolist(), qrels.values[mine].tolist(), strict=True))
        found = [grade.get(document, 0.0) for document in row if document >= 0]
        limit = 1e-9 if level is None else level
        has_value = name.startswith("ndcg") or n_relevant(list(grade.values()), limit) > 0
        values.append(CASES[name](found, list(grade.values()), limit) if has_value else math.nan)
    return torch.tensor(values, dtype=torch.float64)


def test_no_metric_is_forgotten() -> None:
    assert set(metric_names()) == set(ORACLES), "give each metric of the registry an oracle in this file"


@each_metric
@each_level
@pytest.mark.parametrize("seed", range(3))
def test_it_equals_plain_loops(name: str, level: float | None, seed: int) -> None:
    indices, qrels = random_case(seed)
    values = retrieval_metric(name)(Ranking.of(indices, qrels, level))
    assert values.dtype is torch.float64
    torch.testing.assert_close(values, by_loops(name, indices, qrels, level), equal_nan=True, rtol=1e-12, atol=1e-12)


@each_metric
def test_it_lies_between_0_and_1_and_a_perfect_ranking_is_best(name: str) -> None:
    indices, qrels = random_case(7)
    values = retrieval_metric(name)(Ranking.of(indices, qrels))
    known = ~values.isnan()
    assert ((values[known] >= 0) & (values[known] <= 1 + 1e-12)).all()
    perfect = []
    for query in range(qrels.n_queries):
        mine = slice(int(qrels.offsets[query]), int(qrels.offsets[query + 1]))
        order = qrels.values[mine].argsort(descending=True)
        best = qrels.documents[mine][order].tolist()
        perfect.append((best + [document for document in range(60) if document not in best])[:60])
    best_values = retrieval_metric(name)(Ranking.of(torch.tensor(perfect), qrels))
    assert (best_values[known] >= values[known] - 1e-12).all()
    if name in ("map", "map@r", "mrr", "r_precision", "hit_rate@1") or name.startswith("ndcg"):
        torch.testing.assert_close(best_values[known], torch.ones_like(best_values[known]))


@each_metric
def test_queries_do_not_see_each_other(name: str) -> None:
    indices, qrels = random_case(3)
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(0))
    lists = [slice(int(a), int(b)) for a, b in zip(qrels.offsets[:-1], qrels.offsets[1:], strict=True)]
    moved = Qrels.from_lists(
        [qrels.documents[lists[row]].tolist() for row in order], [qrels.values[lists[row]].tolist() for row in order]
    )
    metric = retrieval_metric(name)
    straight = metric(Ranking.of(indices, qrels))
    assert torch.equal(metric(Ranking.of(indices[order], moved)).nan_to_num(-1), straight[order].nan_to_num(-1))


@each_metric
def test_moving_a_relevant_document_up_never_hurts(name: str) -> None:
    indices, qrels = random_case(5)
    before = Ranking.of(indices, qrels)
    swapped = indices.clone()
    for query, grades in enumerate(before.grades.tolist()):
        for place in range(1, len(grades)):
            if max(grades[place], 0) > max(grades[place - 1], 0):
                swapped[query, [place - 1, place]] = swapped[query, [place, place - 1]]
                break
    metric = retrieval_metric(name)
    values, raised = metric(before), metric(Ranking.of(swapped, qrels))
    known = ~values.isnan()
    assert known.any() and (raised[known] >= values[known] - 1e-12).all()


@each_metric
def test_the_depth_it_asks_for_is_enough(name: str) -> None:
    indices, qrels = random_case(9, depth=60)
    metric = retrieval_metric(name)
    depth = metric.depth(int(Ranking.of(indices, qrels).n_relevant.max()), 60)
    cut, whole = metric(Ranking.of(indices[:, :depth], qrels)), metric(Ranking.of(indices, qrels))
    torch.testing.assert_close(cut, whole, equal_nan=True)


@each_metric
def test_nothing_to_rank(name: str) -> None:
    metric = retrieval_metric(name)
    assert metric(Ranking.of(torch.empty(0, 5, dtype=torch.long), Qrels.from_lists([]))).shape == (0,)
    nothing_found = metric(Ranking.of(torch.empty(2, 0, dtype=torch.long), Qrels.from_lists([[3], []])))
    assert nothing_found[0] == 0 and nothing_found[1].isnan()


TREC = {
    "precision@3": "P_3",
    "recall@10": "recall_10",
    "hit_rate@3": "success_3",
    "mrr": "recip_rank",
    "map": "map",
    "map@10": "map_cut_10",
    "r_precision": "Rprec",
    "ndcg@10": "ndcg_cut_10",
    "ndcg": "ndcg",
}


@pytest.mark.parametrize("level", [1, 2])
def test_trec_eval_agrees(level: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    indices, qrels = random_case(11)
    run, judged = {}, {}
    for query, row in enumerate(indices.tolist()):
        mine = slice(int(qrels.offsets[query]), int(qrels.offsets[query + 1]))
        documents, grades = qrels.documents[mine].tolist(), qrels.values[mine].tolist()
        if max(grades, default=0) < level:
            continue  # ours is NaN; trec_eval gives 0, and at level 2 may never return
        judged[str(query)] = {str(document): int(grade) for document, grade in zip(documents, grades, strict=True)}
        run[str(query)] = {str(document): -float(place) for place, document in enumerate(row) if document >= 0}
    measures = {"P.3", "recall.10", "success.3", "recip_rank", "map", "map_cut.10", "Rprec", "ndcg_cut.10", "ndcg"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures, relevance_level=level).evaluate(run)
    compared = 0
    for name, their_name in TREC.items():
        values = retrieval_metric(name)(Ranking.of(indices, qrels, float(level)))
        for query, found in theirs.items():
            assert values[int(query)].item() == pytest.approx(found[their_name], abs=1e-6), (name, query)
            compared += 1
    assert compared > 150


@pytest.mark.parametrize("name", ["ndcg", "ndcg@10"])
def test_scikit_learn_agrees(name: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    grades = torch.randint(0, 4, (20, 30), generator=generator)
    scores = torch.rand(20, 30, generator=generator)
    order = scores.argsort(descending=True)
    qrels = Qrels.from_lists([list(range(30))] * 20, grades.tolist())
    theirs = metrics.ndcg_score(grades.numpy(), scores.numpy(), k=10 if "@" in name else None)
    assert retrieval_metric(name)(Ranking.of(order, qrels)).mean().item() == pytest.approx(theirs)
