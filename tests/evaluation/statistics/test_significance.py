"""Tests of paired differences, against scipy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simlearn.evaluation.statistics.significance import holm, randomisation_test, student_tail, t_test


def test_t_distribution_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 7, 30, 999, 100_000):
        for t in (-8.0, -1.0, -1e-9, 0.0, 0.3, 2.0, 12.0):
            assert student_tail(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-9, abs=1e-14)


def test_t_test_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    differences = np.random.default_rng(0).normal(0.1, 1.0, size=50)
    above, below = t_test(differences)
    assert above == pytest.approx(stats.ttest_1samp(differences, 0, alternative="greater").pvalue)
    assert below == pytest.approx(stats.ttest_1samp(differences, 0, alternative="less").pvalue)
    assert all(math.isnan(one) for one in t_test(differences[:1]))
    assert t_test(np.zeros(5)) == (0.5, 0.5)
    assert t_test(np.full(5, 0.1)) == (0.0, 1.0)


def test_randomisation_test_agrees_with_all_signs() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1.0, size=12)
    signs = 1 - 2 * ((np.arange(2**12)[:, None] >> np.arange(12)) & 1)
    exact = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).mean()
    assert randomisation_test(differences, 20_000) == pytest.approx(exact, abs=0.015)
    assert randomisation_test(np.zeros(4)) == 1.0
    assert randomisation_test(np.ones(100), 999) == 0.001
    assert randomisation_test(differences, seed=3) == randomisation_test(differences, seed=3)


def test_randomisation_test_errs_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    rejected = [randomisation_test(generator.normal(size=30), 400, seed) < 0.1 for seed in range(400)]
    assert 0.06 < np.mean(rejected) < 0.14


def test_holm() -> None:
    corrected = holm([0.01, 0.04, math.nan, 0.03])
    assert corrected[:2] + corrected[3:] == pytest.approx([0.03, 0.06, 0.06]) and math.isnan(corrected[2])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
