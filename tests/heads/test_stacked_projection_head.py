"""Linear layers with activations between them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simlearn.heads import StackedProjectionHead


def test_activation_between_layers_only() -> None:
    head = StackedProjectionHead(4, [8, 6, 2], activation_fn="tanh")
    assert [type(layer) for layer in head.layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert head.output_size == 2
    assert len(StackedProjectionHead(4, [3]).layers) == 1


def test_formula() -> None:
    torch.manual_seed(0)
    head, x = StackedProjectionHead(4, [8, 2]), torch.randn(3, 4)
    first, _, last = head.layers
    assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
    expected = (x @ first.weight.T + first.bias).clamp_min(0) @ last.weight.T + last.bias
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize("sizes", [[], [0], [4, -1]])
def test_bad_sizes(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="output_sizes must hold at least one size"):
        StackedProjectionHead(4, sizes)


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="unknown activation 'softmin'"):
        StackedProjectionHead(4, [2, 2], activation_fn="softmin")
