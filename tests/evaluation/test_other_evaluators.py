"""Re-ranking, pairs and groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import simlearn
from simlearn import (
    DotScorer,
    GroupEvaluator,
    PairEvaluator,
    RerankingEvaluator,
    SimilarityGroupSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)
from simlearn.evaluation.groups import group_evaluator
from simlearn.evaluation.pairs import metrics as pairs
from simlearn.evaluation.rankings import reranking_evaluator


def as_given(objects: list[Any], role: str) -> np.ndarray:
    return np.array(objects, dtype=np.float32)


def random_vectors(count: int, seed: int, size: int = 4) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(count, size)).tolist()


# Re-ranking


def rankings(count: int = 20, size: int = 10) -> list[SimilarityRankingSample]:
    vectors = np.array(random_vectors(count * (size + 1), 0)).reshape(count, size + 1, 4)
    return [
        SimilarityRankingSample(one[0].tolist(), one[1 : 2 + row % size].tolist(), [1.0] + [0.0] * (row % size))
        for row, one in enumerate(vectors)
    ]


@pytest.mark.parametrize("at_once", [1024, 3])
def test_reranking_equals_plain_loops(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranking_evaluator, "_AT_ONCE", at_once)
    samples = rankings()
    report = RerankingEvaluator(samples, ["mrr", "recall@1"], scorer=DotScorer()).evaluate(model=as_given)
    expected = []
    for sample in samples:
        scores = np.array(sample.documents, dtype=np.float32) @ np.array(sample.query, dtype=np.float32)
        expected.append(1 / (1 + int((scores > scores[0]).sum())))
    np.testing.assert_allclose(report.values_of_rows["mrr"], expected)
    assert report["recall@1"] == pytest.approx(np.mean(np.array(expected) == 1))
    assert report.title == "Re-ranking: 20 queries, 1 to 10 candidates each"


def test_reranking_a_run() -> None:
    queries, corpus = {"q": [1.0, 0.0]}, {"a": [0.0, 1.0], "b": [1.0, 0.0], "c": [1.0, 1.0]}
    qrels = {"q": {"b": 1, "c": 1}}
    report = RerankingEvaluator.from_run(queries, corpus, {"q": ["a", "b"]}, qrels, metrics=["mrr"]).evaluate(
        model=as_given
    )
    assert report["mrr"] == 1.0 and report.ids == ["q"]
    assert report.notes == ["1 relevant documents are not among the candidates and are not counted."]
    with pytest.raises(ValueError, match="the candidates name document 'x'"):
        RerankingEvaluator.from_run(queries, corpus, {"q": ["x"]}, qrels)


def test_reranking_counts_what_is_undefined() -> None:
    samples = [SimilarityRankingSample([1.0, 0.0], [[1.0, 0.0]], [0.0]), *rankings(2)]
    assert RerankingEvaluator(samples[1:] + samples[:1], ["mrr"]).samples[2] is samples[0]
    samples = [SimilarityRankingSample([1.0, 0, 0, 0], [[1.0, 0, 0, 0]], [0.0]), *rankings(2)]
    assert RerankingEvaluator(samples, ["mrr"]).evaluate(model=as_given).figures["mrr"].undefined == 1
    with pytest.raises(ValueError, match="1 candidates and 2 relevances"):
        RerankingEvaluator([SimilarityRankingSample([1.0], [[1.0]], [1.0, 0.0])])
    with pytest.raises(TypeError, match="takes SimilarityRankingSamples, got a SimilarityPairSample"):
        RerankingEvaluator([SimilarityPairSample(1, 2)])


# Pairs


def pair_samples(count: int = 200, graded: bool = False) -> list[SimilarityPairSample]:
    first, other = np.array(random_vectors(count, 0)), np.array(random_vectors(count, 1))
    share = np.random.default_rng(2).integers(0, 5 if graded else 2, size=count) / (4 if graded else 1)
    second = first * share[:, None] + other
    return [SimilarityPairSample(*one) for one in zip(first.tolist(), second.tolist(), share.tolist(), strict=True)]


def test_pairs_equal_the_pure_functions() -> None:
    samples = pair_samples()
    report = PairEvaluator(samples).evaluate(model=as_given)
    first, second = (torch.tensor([getattr(one, side) for one in samples]) for side in ("obj_a", "obj_b"))
    scores = torch.cosine_similarity(first, second)
    similar = torch.tensor([one.score for one in samples]) > 0
    assert list(report) == ["roc_auc", "average_precision", "best_f1", "equal_error_rate"]
    assert report["roc_auc"] == pytest.approx(pairs.roc_auc(scores, similar))
    assert report["best_f1"] == pytest.approx(pairs.best_f1(scores, similar).f1)
    assert "best_f1 calls pairs from a score of" in report.notes[-1]
    worst = report.worst(1)[0]
    right = scores[similar].min() if worst["label"] else scores[~similar].max()
    assert worst["score"] == pytest.approx(float(right), abs=1e-6)
    assert all(one.low < one.value < one.high for one in report.figures.values())


def test_graded_pairs() -> None:
    report = PairEvaluator(pair_samples(graded=True)).evaluate(model=as_given)
    assert "spearman" in report and report["spearman"] > 0.3
    assert list(PairEvaluator(pair_samples(graded=True), ["spearman"]).metrics) == ["spearman"]


def test_pairs_that_contradict_each_other_are_counted() -> None:
    same = SimilarityPairSample([1.0, 0.0], [1.0, 0.1], 1.0)
    samples = [same, SimilarityPairSample([1.0, 0.0], [1.0, 0.1], 0.0), same]
    notes = PairEvaluator(samples).evaluate(model=as_given).notes
    assert notes[:2] == [
        "2 pairs repeat another one.",
        "1 pairs of objects are called similar once and different once.",
    ]


def test_bad_pairs() -> None:
    with pytest.raises(ValueError, match="all pairs have one score"):
        PairEvaluator([SimilarityPairSample([1.0], [1.0])])
    with pytest.raises(ValueError, match="the score of pair 0 is nan"):
        PairEvaluator([SimilarityPairSample([1.0], [1.0], float("nan"))])
    with pytest.raises(ValueError, match="unknown metric of pairs 'auc'"):
        PairEvaluator(pair_samples(), ["auc"])
    with pytest.raises(ValueError, match="there is no sample"):
        PairEvaluator([])


def test_better_and_worse_models_of_pairs() -> None:
    evaluator = PairEvaluator(pair_samples(400))
    good = evaluator.evaluate(model=as_given)
    bad = evaluator.evaluate(model=lambda objects, role: as_given(objects, role) * [1, 0, 0, 0])
    verdicts = {name: one.verdict for name, one in good.compare(bad).changes.items()}
    assert set(verdicts.values()) == {"better"}, verdicts
    assert good.compare(good).changes["roc_auc"].verdict == "equal"


# Groups


def group_samples(count: int = 60, members: int = 3, spread: float = 0.5, seed: int = 0) -> list[SimilarityGroupSample]:
    centres = np.repeat(random_vectors(count // members, 0), members, axis=0)
    vectors = centres + spread * np.array(random_vectors(count, seed + 1))
    return [SimilarityGroupSample(one, f"g{row // members}") for row, one in enumerate(vectors.tolist())]


def neighbours(samples: list[SimilarityGroupSample], gallery: list[SimilarityGroupSample] | None) -> list[list[bool]]:
    def unit(ones: list[SimilarityGroupSample]) -> np.ndarray:
        vectors = np.array([one.obj for one in ones], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    found = []
    others = samples if gallery is None else gallery
    for row, scores in enumerate(unit(samples) @ unit(others).T):
        order = [place for place in np.argsort(-scores, kind="stable").tolist() if gallery is not None or place != row]
        found.append([others[place].group == samples[row].group for place in order])
    return found


@pytest.mark.parametrize("with_gallery", [False, True])
@pytest.mark.parametrize("cells", [2**23, 100])
def test_groups_equal_plain_loops(with_gallery: bool, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_evaluator, "_CELLS", cells)
    samples, gallery = group_samples(), group_samples(90, seed=7) if with_gallery else None
    evaluator = GroupEvaluator(samples, gallery, ["map@r", "r_precision", "cmc@1", "knn_accuracy@1"])
    report = evaluator.evaluate(model=as_given)
    expected: dict[str, list[float]] = {"map@r": [], "r_precision": [], "hit_rate@1": []}
    for alike in neighbours(samples, gallery):
        size = sum(alike)
        expected["r_precision"].append(sum(alike[:size]) / size)
        expected["hit_rate@1"].append(float(alike[0]))
        precisions = [sum(alike[: place + 1]) / (place + 1) for place in range(size) if alike[place]]
        expected["map@r"].append(sum(precisions) / size)
    for name, values in expected.items():
        np.testing.assert_allclose(report.values_of_rows[name], values, err_msg=name)
    assert report["knn_accuracy@1"] == report["hit_rate@1"]
    assert report.unit_name == "groups" and len(report.unit_ids) == 20


def test_few_groups_are_resampled_by_object() -> None:
    assert GroupEvaluator(group_samples(30)).evaluate(model=as_given).unit_name == "objects"


def test_groups_count_what_is_odd() -> None:
    own = [*group_samples(9), SimilarityGroupSample([9.0, 9, 9, 9], "alone")]
    own += [own[0], SimilarityGroupSample(own[1].obj, "other")]
    report = GroupEvaluator(own).evaluate(model=as_given)
    assert report.figures["map@r"].undefined == 1 and len(report.ids) == 10
    assert report.notes == [
        "2 samples repeat an object and were counted once.",
        "1 samples give an object another group than before; the first one holds.",
    ]
    report = GroupEvaluator(own[:10], gallery=own[:3]).evaluate(model=as_given)
    assert report.notes == [
        "3 objects are in the gallery themselves, where they find their own copy.",
        "7 objects are of a group that the gallery does not have.",
    ]


def test_clusters_on_request() -> None:
    pytest.importorskip("sklearn")
    evaluator = GroupEvaluator(group_samples(60, 20, spread=0.05), metrics=["nmi", "ami"], n_resamples=20)
    report = evaluator.evaluate(model=as_given)
    assert dict(report) == {"nmi": pytest.approx(1.0), "ami": pytest.approx(1.0)}
    noisy = GroupEvaluator(group_samples(60, 20, spread=2.0), metrics=["ami"], n_resamples=20).evaluate(model=as_given)
    assert noisy.figures["ami"].low < noisy["ami"] < 0.9


def test_bad_groups() -> None:
    with pytest.raises(ValueError, match="unknown metric 'knn_accuracy@x'"):
        GroupEvaluator(group_samples(), metrics=["knn_accuracy@x"])
    with pytest.raises(TypeError, match="takes SimilarityGroupSamples"):
        GroupEvaluator(pair_samples())


def test_they_take_loaders() -> None:
    loader = simlearn.GroupSimilarityDataLoader(group_samples(), batch_size=8)
    assert dict(GroupEvaluator(loader).evaluate(model=as_given)) == dict(
        GroupEvaluator(group_samples()).evaluate(model=as_given)
    )
