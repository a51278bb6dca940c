"""The head that adds a gated correction."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from simlearn.heads import SkipConnectionHead


def by_hand(head: SkipConnectionHead, x: Tensor) -> Tensor:
    weights = dict(head.named_parameters())
    for layer in range(len(head.layers)):
        linear = x @ weights[f"layers.{layer}.projection.weight"].T + weights[f"layers.{layer}.projection.bias"]
        x = x + linear * torch.sigmoid(weights[f"layers.{layer}.gates"])
    return x


def set_projection(head: SkipConnectionHead, bias: float) -> None:
    """The first correction becomes a constant."""
    weights = dict(head.named_parameters())
    nn.init.constant_(weights["layers.0.projection.weight"], 0.0)
    nn.init.constant_(weights["layers.0.projection.bias"], bias)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_formula(n_layers: int) -> None:
    torch.manual_seed(0)
    head, x = SkipConnectionHead(4, n_layers=n_layers), torch.randn(3, 4)
    torch.testing.assert_close(head(x), by_hand(head, x))


def test_gates_start_nearly_closed() -> None:
    head = SkipConnectionHead(4, n_layers=2)
    gates = [parameter for name, parameter in head.named_parameters() if name.endswith("gates")]
    assert len(gates) == 2 and all(gate.eq(-4).all() for gate in gates)
    set_projection(head, bias=1.0)
    head.layers[1] = nn.Identity()
    assert head(torch.zeros(1, 4))[0, 0].item() == pytest.approx(1 / (1 + math.exp(4)))


def test_skip_dropout_leaves_the_skip_alone() -> None:
    torch.manual_seed(0)
    head = SkipConnectionHead(100, skip_dropout=0.9)
    set_projection(head, bias=0.0)
    x = torch.randn(5, 100)
    assert torch.equal(head(x), x)


def test_skip_dropout_works_in_training_only() -> None:
    torch.manual_seed(0)
    head, x = SkipConnectionHead(100, skip_dropout=0.5), torch.randn(5, 100)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


@pytest.mark.parametrize(
    ("arguments", "message"), [({"skip_dropout": 1.0}, "skip_dropout"), ({"n_layers": 0}, "n_layers")]
)
def test_bad_arguments(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be"):
        SkipConnectionHead(4, **arguments)  # type: ignore[arg-type]
