"""Metrics of pairs against scikit-learn and scipy, ties included."""

from __future__ import annotations

import math

import pytest
import torch

from simlearn.evaluation.pairs import metrics as pairs


def case(seed: int, size: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    similar = torch.rand(size, generator=generator) < 0.3
    scores = torch.randn(size, generator=generator) + similar
    return ((scores * 3).round() / 3 if seed % 2 else scores), similar


@pytest.mark.parametrize("seed", range(6))
def test_libraries_agree(seed: int) -> None:
    metrics, stats = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    scores, similar = case(seed)
    theirs = similar.numpy(), scores.numpy()
    assert pairs.roc_auc(scores, similar) == pytest.approx(metrics.roc_auc_score(*theirs))
    assert pairs.average_precision(scores, similar) == pytest.approx(metrics.average_precision_score(*theirs))
    grades = torch.randint(0, 5, scores.shape, generator=torch.Generator().manual_seed(seed)) + similar.long()
    assert pairs.spearman(scores, grades) == pytest.approx(stats.spearmanr(scores, grades).statistic)
    assert pairs.mean_ranks(scores).tolist() == stats.rankdata(scores).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_the_best_threshold_by_trying_all(seed: int) -> None:
    scores, similar = case(seed, 60)
    best = pairs.best_f1(scores, similar)
    tried = []
    for threshold in scores.unique().tolist():
        called = scores >= threshold
        hits = (called & similar).sum().item()
        tried.append(2 * hits / (called.sum().item() + similar.sum().item()))
    assert best.f1 == pytest.approx(max(tried))
    called = scores >= best.threshold
    assert best.precision == pytest.approx(similar[called].double().mean().item())
    assert best.recall == pytest.approx(called[similar].double().mean().item())
    assert best.accuracy == pytest.approx((called == similar).double().mean().item())


def test_equal_error_rate() -> None:
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert pairs.equal_error_rate(scores, torch.tensor([True, True, True, False, False, False])) == 0
    assert pairs.equal_error_rate(scores, torch.tensor([False, False, False, True, True, True])) == pytest.approx(1)
    assert pairs.equal_error_rate(scores, torch.tensor([True, True, False, True, False, False])) == pytest.approx(1 / 3)
    assert pairs.equal_error_rate(torch.ones(4), torch.tensor([True, False, False, False])) == pytest.approx(0.5)


@pytest.mark.parametrize("function", [pairs.roc_auc, pairs.average_precision, pairs.equal_error_rate])
def test_the_order_of_pairs_does_not_matter(function: object) -> None:
    scores, similar = case(1)
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    assert function(scores, similar) == pytest.approx(function(scores[order], similar[order]))  # type: ignore[operator]


def test_what_is_not_defined_is_nan() -> None:
    scores, none = torch.tensor([1.0, 2.0]), torch.tensor([False, False])
    for function in (pairs.roc_auc, pairs.average_precision, pairs.equal_error_rate):
        assert math.isnan(function(scores, none))
    assert math.isnan(pairs.best_f1(scores, none).f1)
    assert math.isnan(pairs.roc_auc(scores, ~none)) and math.isnan(pairs.spearman(scores, torch.ones(2)))
    assert math.isnan(pairs.spearman(scores[:0], scores[:0]))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="must be bool"):
        pairs.roc_auc(torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match="two columns"):
        pairs.roc_auc(torch.ones(2), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="NaN"):
        pairs.spearman(torch.tensor([1.0, math.nan]), torch.ones(2))
