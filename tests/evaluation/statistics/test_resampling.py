"""Bootstrap resamples and what they say of figures."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from simlearn.evaluation.pairs import metrics as pairs
from simlearn.evaluation.pairs.statistics import PAIR_METRICS, PairStatistic
from simlearn.evaluation.statistics.resampling import draw_weights, interval, resample
from simlearn.evaluation.statistics.statistic import (
    ClusteringStatistic,
    FixedStatistic,
    MeanStatistic,
    ReducedStatistic,
)


def test_weights_are_whole_resamples_and_repeat_by_their_seed() -> None:
    drawn = np.concatenate(list(draw_weights(50, 400, seed=1)))
    assert drawn.shape == (400, 50)
    assert (drawn.sum(1) == 50).all() and (drawn == drawn.round()).all() and drawn.min() == 0
    assert np.array_equal(drawn, np.concatenate(list(draw_weights(50, 400, seed=1))))
    assert not np.array_equal(drawn, np.concatenate(list(draw_weights(50, 400, seed=2))))
    assert abs(drawn.var() - (1 - 1 / 50)) < 0.05


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=2000)
    low, high = interval(resample([MeanStatistic(values)], 2000, 4000, 0)[:, 0], 0.95)
    error = values.std(ddof=1) / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator, held = np.random.default_rng(0), 0
    for seed in range(300):
        values = (generator.random(200) < 0.3).astype(float)
        low, high = interval(resample([MeanStatistic(values)], 200, 300, seed)[:, 0], 0.9)
        held += low <= 0.3 <= high
    assert 0.85 < held / 300 < 0.95


def test_groups_are_resampled_as_wholes() -> None:
    values = np.repeat(np.random.default_rng(0).random(40), 25)  # 25 objects that all fare alike
    units = np.repeat(np.arange(40), 25)
    whole = resample([MeanStatistic(values, units, 40)], 40, 1000, 0)[:, 0]
    alone = resample([MeanStatistic(values)], 1000, 1000, 0)[:, 0]
    assert whole.std() == pytest.approx(values.std() / np.sqrt(40), rel=0.1)
    assert alone.std() == pytest.approx(values.std() / np.sqrt(1000), rel=0.1)


def test_undefined_values_are_left_out_or_count_as_zero() -> None:
    values = np.array([1.0, np.nan, 0.5, np.nan])
    skipped, zero = MeanStatistic(values), MeanStatistic(values, zero=True)
    assert (skipped.value, skipped.n, skipped.undefined) == (0.75, 2, 2)
    assert (zero.value, zero.n, zero.undefined) == (0.375, 4, 2)
    weights = np.array([[2.0, 2, 0, 0], [0, 4, 0, 0]])
    assert skipped.resampled(weights)[0] == 1.0 and np.isnan(skipped.resampled(weights)[1])
    assert zero.resampled(weights).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("name", PAIR_METRICS)
@pytest.mark.parametrize("rounded", [False, True], ids=["no ties", "ties"])
def test_weighted_metrics_of_pairs_equal_those_of_the_resampled_pairs(name: str, rounded: bool) -> None:
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 4 if name == "spearman" else 2, size=60).astype(float)
    scores = labels + generator.normal(size=60)
    scores = scores.round() if rounded else scores
    statistic = PairStatistic(name, scores, labels)
    weights = np.concatenate([np.ones((1, 60)), *draw_weights(60, 20, seed=0)])
    for row, value in zip(weights.astype(int), statistic.resampled(weights), strict=True):
        given, wanted = (torch.from_numpy(np.repeat(one, row)) for one in (scores, labels))
        if name == "spearman":
            expected = pairs.spearman(given, wanted)
        else:
            found = getattr(pairs, name)(given, wanted > 0)
            expected = found.f1 if name == "best_f1" else found
        assert value == pytest.approx(expected, abs=1e-12)
    assert statistic.resampled(weights[:1])[0] == pytest.approx(statistic.value, abs=1e-12)


def test_other_statistics() -> None:
    values = np.array([1.0, 2.0, 9.0, np.nan])
    median = ReducedStatistic(values, torch.median)
    assert (median.value, median.n, median.undefined) == (2.0, 3, 1)
    assert median.resampled(np.array([[0.0, 0, 3, 1], [1, 2, 0, 1]])).tolist() == [9.0, 2.0]
    assert np.isnan(FixedStatistic(0.5, 3).resampled(np.ones((2, 3)))).all()
    same = ClusteringStatistic(lambda a, b: float((a == b).mean()), np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert same.resampled(np.array([[1.0, 1, 0], [0, 0, 3]])).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="unknown metric of pairs"):
        PairStatistic("auc", values, values)


def test_a_thousand_resamples_of_ten_thousand_queries_are_cheap() -> None:
    values = np.random.default_rng(0).random((6, 10_000))
    start = time.perf_counter()
    resample([MeanStatistic(one) for one in values], 10_000, 1000, 0)
    assert time.perf_counter() - start < 20.0  # about 0.2 s on one core; drawn one by one it would take minutes
