"""The values of the paper, which a cosine of the cosine would miss."""

from __future__ import annotations

import math

import pytest
import torch

from simlearn.hashing import stable_id
from simlearn.losses import CosFaceLoss

IDS = torch.tensor([stable_id(name) for name in range(8)]).sort().values


def test_on_a_centre_and_orthogonal_to_it() -> None:
    loss = CosFaceLoss(9, 8, classes=range(8))
    with torch.no_grad():
        loss.kernel.copy_(torch.eye(9)[:, :8])
    assert loss(torch.eye(9)[:8], IDS).item() == pytest.approx(0.0, abs=1e-6)
    away = loss(torch.eye(9)[8:].expand(8, 9), IDS).item()
    assert away == pytest.approx(math.log(math.exp(-22.4) + 7) + 22.4, rel=1e-6)


def test_separable_classes_are_found() -> None:
    torch.manual_seed(0)
    loss, embeddings = CosFaceLoss(8, 8, classes=range(8)), torch.nn.Parameter(torch.randn(32, 8))
    optimizer = torch.optim.Adam([embeddings, *loss.parameters()], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(embeddings, IDS.repeat(4)).backward()
        optimizer.step()
    nearest = loss.cosines(embeddings).argmax(1)
    assert torch.equal(IDS[nearest], IDS.repeat(4))


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="margin must not be negative"):
        CosFaceLoss(4, 3, margin=-1)
    with pytest.raises(ValueError, match="scale must be above 0"):
        CosFaceLoss(4, 3, scale=0)
