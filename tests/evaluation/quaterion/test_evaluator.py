"""Quaterion's evaluator and samplers, without their faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import simlearn
from simlearn import (
    AttachedMetric,
    BagOfTokensEncoder,
    BaseMetric,
    Evaluator,
    GroupSampler,
    HashedNGrams,
    PairSampler,
    RetrievalPrecision,
    RetrievalReciprocalRank,
    RetrievalRPrecision,
    SimilarityGroupSample,
    SimilarityModel,
    SimilarityPairSample,
    TwoTower,
)


def as_given(objects: list[Any], role: str) -> np.ndarray:
    return np.array(objects, dtype=np.float32)


def groups(count: int = 50, members: int = 2, spread: float = 1e-3) -> list[SimilarityGroupSample]:
    generator = np.random.default_rng(0)
    centres = np.repeat(generator.normal(size=(count, 8)), members, axis=0)
    vectors = centres + spread * generator.normal(size=centres.shape)
    return [SimilarityGroupSample(one, row // members) for row, one in enumerate(vectors.tolist())]


@pytest.mark.parametrize("sample_size", [-1, 7, 1000])
def test_near_perfect_groups_score_one(sample_size: int) -> None:
    """Quaterion's E1: its sampler left the wrong objects out and gave 0.05."""
    evaluator = Evaluator(RetrievalRPrecision(), GroupSampler(sample_size, log_progress=False))
    report = simlearn.evaluate(evaluator, groups(), as_given)
    assert dict(report) == {"RetrievalRPrecision": 1.0}
    assert report.figures["RetrievalRPrecision"].n == (7 if sample_size == 7 else 100)


def test_a_sample_is_some_of_the_rows_of_all_and_the_same_for_every_metric() -> None:
    data = groups(spread=2.0)
    metrics = {"rp": RetrievalRPrecision(), "rr": RetrievalReciprocalRank()}
    whole = Evaluator(metrics, GroupSampler(log_progress=False)).evaluate(data, as_given)
    some = Evaluator(metrics, GroupSampler(20, log_progress=False)).evaluate(data, as_given)
    for name in metrics:
        values = dict(zip(whole.ids, whole.values_of_rows[name], strict=True))
        np.testing.assert_allclose(some.values_of_rows[name], [values[row] for row in some.ids])
    other = Evaluator(metrics, GroupSampler(20, log_progress=False, seed=1)).evaluate(data, as_given)
    assert len(some.ids) == 20 and some.ids != other.ids


@pytest.mark.parametrize("distinguish", [False, True])
def test_a_repeated_object_is_one_object(distinguish: bool) -> None:
    """Quaterion's E4: the copies of a repeated object counted as wrong answers."""
    pairs = [SimilarityPairSample([1.0, 0.1 * row], [2.0, 0.2 * row]) for row in range(4)] * 2
    sampler = PairSampler(distinguish=distinguish, log_progress=False)
    report = Evaluator(RetrievalPrecision(k=1), sampler).evaluate(pairs, as_given)
    assert report["RetrievalPrecision"] == 1.0
    assert len(report.ids) == (4 if distinguish else 8)


def test_distinguish_searches_second_objects_only() -> None:
    # The nearest of all to the first object is another first one.
    pairs = [SimilarityPairSample([1.0, 0.0], [1.0, 0.5]), SimilarityPairSample([1.0, 0.01], [1.0, -0.9])]
    figures = {}
    for distinguish in (False, True):
        sampler = PairSampler(distinguish=distinguish, log_progress=False)
        figures[distinguish] = Evaluator(RetrievalPrecision(1), sampler).evaluate(pairs, as_given)["RetrievalPrecision"]
    assert figures[True] == 0.5 and figures[False] < 0.5


def test_an_object_on_both_sides_does_not_find_itself() -> None:
    pairs = [SimilarityPairSample([1.0, 0.0], [1.0, 0.3]), SimilarityPairSample([1.0, 0.3], [1.0, 0.0])]
    sampler = PairSampler(distinguish=True, log_progress=False)
    assert Evaluator(RetrievalPrecision(1), sampler).evaluate(pairs, as_given)["RetrievalPrecision"] == 1.0


def test_two_towers_need_distinguish() -> None:
    def words() -> BagOfTokensEncoder:
        return BagOfTokensEncoder(HashedNGrams(), embedding_size=8)

    model = SimilarityModel(TwoTower(query=words(), document=words()))
    pairs = [SimilarityPairSample("a b", "c d"), SimilarityPairSample("e f", "a b")]
    with pytest.raises(ValueError, match=r"PairSampler\(distinguish=True\)"):
        Evaluator(RetrievalPrecision(1), PairSampler(log_progress=False)).evaluate(pairs, model)
    sampler = PairSampler(distinguish=True, log_progress=False)
    report = Evaluator(RetrievalReciprocalRank(), sampler).evaluate(pairs, model)
    assert report.figures["RetrievalReciprocalRank"].n == 2


def test_own_reductions_and_own_metrics() -> None:
    class Count(BaseMetric):
        def measure(self, examples: Any) -> torch.Tensor:
            return torch.tensor(float(len(examples.objects)))

    metrics = {"worst": RetrievalRPrecision(reduce_func=torch.min), "count": Count()}
    report = Evaluator(metrics, GroupSampler(log_progress=False)).evaluate(groups(spread=3.0), as_given)
    assert report["worst"] == 0.0 and report["count"] == 100.0
    assert np.isnan(report.figures["count"].low)


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="metric 'x' must be a BaseMetric"):
        Evaluator({"x": "mrr"}, GroupSampler())  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="sampler must be"):
        Evaluator(RetrievalPrecision(), None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Evaluator takes a data set"):
        Evaluator(RetrievalPrecision(), GroupSampler()).evaluate(model=as_given)
    with pytest.raises(TypeError, match="takes SimilarityPairSamples, got a SimilarityGroupSample"):
        Evaluator(RetrievalPrecision(), PairSampler()).evaluate(groups(), as_given)
    with pytest.raises(ValueError, match="sample_size"):
        GroupSampler(0)
    with pytest.raises(ValueError, match="encode_batch_size"):
        PairSampler(encode_batch_size=0)


def test_attached_metric() -> None:
    attached = AttachedMetric("rp", RetrievalPrecision(k=3), prog_bar=True, stages=["validation"], rank_zero_only=True)
    assert attached.metric.metric.name == "precision@3" and attached.undefined == 0
    assert attached.log_options == {"prog_bar": True, "rank_zero_only": True}
    with pytest.raises(ValueError, match="unknown stage 'test'"):
        AttachedMetric("rp", RetrievalPrecision(), stages=["test"])
    with pytest.raises(TypeError, match="takes a BaseMetric"):
        AttachedMetric("rp", "precision")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        _ = attached.nothing_like_it
