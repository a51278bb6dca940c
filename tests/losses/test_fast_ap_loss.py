"""FastAP: values of pytorch-metric-learning, and gradients without NaN."""

from __future__ import annotations

import pytest
import torch

from simlearn.losses import FastAPLoss

GROUPS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])  # one of them alone


@pytest.mark.parametrize("num_bins", [1, 4, 10, 25])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pytorch_metric_learning(num_bins: int, seed: int) -> None:
    from pytorch_metric_learning import losses

    embeddings = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = losses.FastAPLoss(num_bins)(embeddings, GROUPS)
    torch.testing.assert_close(FastAPLoss(num_bins)(embeddings, GROUPS), expected)


@pytest.mark.parametrize("size", [32, 64, 128])
def test_ordinary_batches_train(size: int) -> None:
    """Empty bins were 0 / 0 in Quaterion, whose weights were NaN after one step."""
    weights = torch.randn(size, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    groups, loss = torch.arange(size) % 8, FastAPLoss()
    optimizer, first = torch.optim.Adam([weights], lr=0.05), loss(weights, groups).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss(weights, groups).backward()
        assert weights.grad is not None and weights.grad.isfinite().all()
        optimizer.step()
    assert loss(weights, groups).item() < first / 2


def test_a_perfect_ranking_costs_nothing() -> None:
    separated, groups = torch.eye(4).repeat_interleave(3, 0), torch.arange(4).repeat_interleave(3)
    assert FastAPLoss()(separated, groups).item() == pytest.approx(0, abs=1e-6)
    assert FastAPLoss()(separated, groups.roll(1)).item() > 0.2


def test_it_compares_by_cosine_only() -> None:
    loss = FastAPLoss()
    assert loss.distance == "cosine" and loss.get_config_dict() == {"num_bins": 10}


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="num_bins must be at least 1, got 0"):
        FastAPLoss(0)
