"""Through a wider layer and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simlearn.heads import WideningHead


@pytest.mark.parametrize(("factor", "hidden"), [(4.0, 20), (1.5, 7), (0.2, 1)])
def test_widths(factor: float, hidden: int) -> None:
    first, _, last = WideningHead(5, expansion_factor=factor).layers
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    assert (first.out_features, last.in_features, last.out_features) == (hidden, hidden, 5)


def test_formula() -> None:
    torch.manual_seed(0)
    head, x = WideningHead(4, activation_fn="sigmoid"), torch.randn(3, 4)
    first, _, last = head.layers
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    expected = torch.sigmoid(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(head(x), expected)


def test_factor_that_leaves_nothing() -> None:
    with pytest.raises(ValueError, match=r"expansion_factor 0.1 leaves no value of 5; it must be at least 0.2"):
        WideningHead(5, expansion_factor=0.1)
