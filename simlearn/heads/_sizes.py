"""What vectors layers and heads take."""

from __future__ import annotations

from torch import nn

from simlearn.components.torch_layers import SETTINGS

_RESHAPING = (nn.Flatten, nn.Unflatten)


def keeps_size(layer: nn.Module) -> bool:
    """Whether a layer without a size of its own is known to leave the last dimension as long as it was."""
    return type(layer) in SETTINGS and not isinstance(layer, _RESHAPING)


def input_size(layer: nn.Module) -> int | None:
    """The length of the vectors that a layer or head takes, where it says so."""
    for name in ("input_embedding_size", "in_features", "num_features"):
        size = getattr(layer, name, None)
        if isinstance(size, int):
            return size
    shape = getattr(layer, "normalized_shape", None)
    return int(shape[-1]) if shape else None
