"""Activations by name."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from simlearn.heads.activations import ACTIVATIONS, activation


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_is_the_function_of_that_name(name: str) -> None:
    x = torch.linspace(-3, 3, 20)
    expected = getattr(torch, name)(x) if name in ("sigmoid", "tanh") else getattr(F, name)(x)
    torch.testing.assert_close(activation(name)(x), expected)


def test_identity() -> None:
    x = torch.linspace(-3, 3, 20)
    assert activation("identity")(x) is x


@pytest.mark.parametrize("name", ["Relu", "", "load", "__class__", "linear"])
def test_unknown_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown activation .*; known are \['celu', .*'relu'"):
        activation(name)
