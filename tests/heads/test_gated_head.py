"""The head that weighs each coordinate."""

from __future__ import annotations

import math

import torch

from simlearn.heads import GatedHead


def test_starts_near_the_identity() -> None:
    x = torch.randn(3, 4)
    torch.testing.assert_close(GatedHead(4)(x), x * math.tanh(2.0))


def test_weighs_coordinates() -> None:
    head = GatedHead(2)
    with torch.no_grad():
        head.gates.copy_(torch.tensor([0.0, -0.5]))
    torch.testing.assert_close(head(torch.tensor([[3.0, 2.0]])), torch.tensor([[0.0, -2 * math.tanh(0.5)]]))
