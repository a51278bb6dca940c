"""The activations that a head can be given by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """The activation of that name, with torch's default settings.

    Args:
        name: a key of `ACTIVATIONS`; the names are those of `torch.nn.functional`.

    Raises:
        ValueError: for any other name.

    >>> activation("relu")
    ReLU()
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known are {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]()
