"""Proxies as anchors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from simlearn.losses import ProxyAnchorLoss


def test_the_value_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    loss, embeddings, groups = ProxyAnchorLoss(4, 3), torch.randn(5, 4), torch.tensor([0, 1, 1, 0, 0])
    loss.set_classes(torch.arange(3))
    cosines = F.normalize(embeddings) @ F.normalize(loss.kernel, dim=0)
    alike = F.one_hot(groups, 3).bool()
    near = torch.where(alike, (-32 * (cosines - 0.1)).exp(), 0.0).sum(0)
    far = torch.where(~alike, (32 * (cosines + 0.1)).exp(), 0.0).sum(0)
    expected = near.log1p().sum() / 2 + far.log1p().sum() / 3  # class 2 has no object here
    torch.testing.assert_close(loss(embeddings, groups), expected)


def test_options_are_checked() -> None:
    for options in ({"margin": -1.0}, {"scale": 0.0}):
        with pytest.raises(ValueError, match="margin must not be negative and scale must be above 0"):
            ProxyAnchorLoss(4, 3, **options)
