"""torch.nn layers as JSON: the class by name from a fixed list, its settings read back from the instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from simlearn.files import LoadError

# The constructor's arguments of each layer, which are also the names of its attributes.
SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.AlphaDropout: ("p", "inplace"),
    nn.BatchNorm1d: ("num_features", "eps", "momentum", "affine", "track_running_stats"),
    nn.CELU: ("alpha", "inplace"),
    nn.Dropout: ("p", "inplace"),
    nn.ELU: ("alpha", "inplace"),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.GELU: ("approximate",),
    nn.Hardswish: ("inplace",),
    nn.Identity: (),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.LeakyReLU: ("negative_slope", "inplace"),
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.LogSoftmax: ("dim",),
    nn.Mish: ("inplace",),
    nn.PReLU: ("num_parameters",),
    nn.ReLU: ("inplace",),
    nn.ReLU6: ("inplace",),
    nn.RMSNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.SELU: ("inplace",),
    nn.SiLU: ("inplace",),
    nn.Sigmoid: (),
    nn.Softmax: ("dim",),
    nn.Softplus: ("beta", "threshold"),
    nn.Softsign: (),
    nn.Tanh: (),
    nn.Unflatten: ("dim", "unflattened_size"),
}

_CLASSES = {cls.__name__: cls for cls in SETTINGS}


def describe(layer: nn.Module) -> dict[str, Any]:
    """What `build` needs to make the layer again, without its weights.

    Raises:
        TypeError: for a layer that is not on the list.
    """
    cls = type(layer)
    if cls not in SETTINGS:
        raise TypeError(
            f"{cls.__module__}.{cls.__qualname__} cannot be saved without pickle; give a container's layers one by one "
            "(SequentialHead(*layers, ...)), wrap any other module in an EncoderHead of your own. "
            f"Heads can be saved, and the layers {', '.join(sorted(_CLASSES))}"
        )
    if layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer):
        raise TypeError(
            f"a {cls.__name__} has hooks, as weight_norm adds them, which no file holds; take them off first"
        )
    return described_layer(layer)


def described_layer(layer: nn.Module) -> dict[str, Any]:
    """A layer of the list: its class and what it was made with, alike in every version of torch."""
    cls = type(layer)
    return {"layer": cls.__name__, "settings": {name: _setting(layer, name) for name in SETTINGS[cls]}}


def build(entry: Mapping[str, Any]) -> nn.Module:
    """Make the layer that `describe` described.

    Raises:
        LoadError: when the entry names no layer of the list, or settings that it does not have.
    """
    name, settings = entry.get("layer"), entry.get("settings")
    cls = _CLASSES.get(name) if isinstance(name, str) else None
    if cls is None or not isinstance(settings, dict) or not settings.keys() <= set(SETTINGS[cls]):
        raise LoadError(f"{dict(entry)!r:.200} is no layer that SequentialHead saves")
    try:
        # JSON made lists of shapes, which the layers hold as tuples.
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
    except (TypeError, ValueError, RuntimeError) as error:
        raise LoadError(f"{dict(entry)!r:.200} does not make a layer: {error}") from error


def _setting(layer: nn.Module, name: str) -> Any:
    value = getattr(layer, name)
    if name == "bias":  # the weight itself, or None
        return value is not None
    return list(value) if isinstance(value, tuple) else value
