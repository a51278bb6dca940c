"""Circle loss: values and gradients of pytorch-metric-learning and of the paper."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from simlearn.losses import CircleLoss

GROUPS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])  # one of them alone


@pytest.mark.parametrize(("margin", "scale_factor"), [(0.25, 256.0), (0.4, 80.0), (0.1, 2.0)])
def test_equal_to_pytorch_metric_learning(margin: float, scale_factor: float) -> None:
    """Theirs averages the anchors whose loss is not zero, and none of these is."""
    from pytorch_metric_learning import losses

    embeddings = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours, theirs = embeddings.clone().requires_grad_(), embeddings.clone().requires_grad_()
    expected = losses.CircleLoss(margin, scale_factor)(theirs, GROUPS)
    value = CircleLoss(margin, scale_factor)(ours, GROUPS)
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(v, x)[0] for v, x in ((value, ours), (expected, theirs))]
    torch.testing.assert_close(*gradients)


def test_the_weights_are_those_of_the_paper() -> None:
    """A positive at 1 has the weight margin, where the other signs gave it 2 + margin."""
    unit = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]]), dim=1)
    pull, push = -8 * 0.25 * (1 - 0.75), 8 * (0.6 + 0.25) * (0.6 - 0.25)
    expected = F.softplus(torch.tensor(pull + push))
    torch.testing.assert_close(CircleLoss(0.25, 8.0)(unit, torch.tensor([0, 0, 1])), expected)


def test_the_default_is_finite_where_embeddings_coincide() -> None:
    embeddings = torch.ones(6, 4, requires_grad=True)
    value = CircleLoss()(embeddings, torch.arange(6) % 2)
    value.backward()
    assert value.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_training_separates_groups() -> None:
    weights = torch.randn(12, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    groups, loss = torch.arange(12) % 4, CircleLoss(0.25, 64.0)
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss(weights, groups).backward()
        optimizer.step()
    scores = F.normalize(weights, dim=1) @ F.normalize(weights, dim=1).T
    same = groups[:, None] == groups
    assert scores[same].min() > scores[~same].max()


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="scale_factor must be above 0, got 0.0"):
        CircleLoss(scale_factor=0.0)
