"""The head that changes nothing."""

from __future__ import annotations

import torch

from simlearn.heads import EmptyHead


def test_returns_its_input() -> None:
    x = torch.randn(3, 4)
    assert EmptyHead(4)(x) is x


def test_dropout() -> None:
    torch.manual_seed(0)
    head = EmptyHead(1000, dropout=0.5)
    output = head(torch.ones(1, 1000))
    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert head.eval()(torch.ones(1, 1000)).eq(1).all()
