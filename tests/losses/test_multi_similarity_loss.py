"""Multi-Similarity: values and gradients of pytorch-metric-learning."""

from __future__ import annotations

import pytest
import torch

from simlearn.losses import MultiSimilarityLoss

GROUPS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])  # one of them alone


@pytest.mark.parametrize("epsilon", [None, 0.1, 0.5, -0.2])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pytorch_metric_learning(epsilon: float | None, seed: int) -> None:
    from pytorch_metric_learning import losses
    from pytorch_metric_learning.miners import MultiSimilarityMiner

    embeddings = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    mined = None if epsilon is None else MultiSimilarityMiner(epsilon)(theirs, GROUPS)
    expected = losses.MultiSimilarityLoss(2, 50, 0.5)(theirs, GROUPS, mined)
    value = MultiSimilarityLoss(epsilon=epsilon)(ours, GROUPS)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(v, x)[0] for v, x in ((value, ours), (expected, theirs))]
    torch.testing.assert_close(*gradients)


def test_pairs_that_teach_nothing_are_left_out() -> None:
    separated, groups = torch.eye(4).repeat_interleave(3, 0), torch.arange(4).repeat_interleave(3)
    assert MultiSimilarityLoss()(separated, groups) == 0
    assert MultiSimilarityLoss(epsilon=None)(separated, groups) > 0


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"beta": -1.0}, {"alpha": float("nan")}])
def test_options_are_checked(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="alpha and beta must be above 0"):
        MultiSimilarityLoss(**options)
