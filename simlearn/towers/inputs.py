"""What the towers read: objects after collating, moved to the device in one go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from simlearn import meta as columns
from simlearn.encoding import modules_of
from simlearn.meta import Meta


@dataclass(frozen=True)
class CachedRows:
    """Objects whose embeddings are known: the numbers of their rows (N,) in an encoder's cache."""

    rows: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CachedRows:
        """The same rows; they stay on the CPU, since the cache decides where it is looked up."""
        return self


@dataclass(frozen=True)
class Inputs:
    """N collated objects for one tower.

    Args:
        features: for each part of the tower, by name, what its encoder takes, or `CachedRows`.
        meta: columns of N entries for the head.
        size: N.
    """

    features: dict[str, Any]
    meta: Meta
    size: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Inputs:
        """The same inputs on another device."""
        moved = {name: move(features, device, non_blocking) for name, features in self.features.items()}
        return Inputs(moved, columns.to(self.meta, device, non_blocking), self.size)


@dataclass(frozen=True)
class InputChunks:
    """The inputs of one tower, cut into parts that are encoded one after the other.

    Args:
        chunks: the parts; at least one.
        places: (N,) int64, where each of the N objects is in the parts, one behind the other; None where they hold the
            objects in their order.
    """

    chunks: tuple[Inputs, ...]
    places: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> InputChunks:
        """The same parts on another device."""
        places = None if self.places is None else self.places.to(device, non_blocking=non_blocking)
        return InputChunks(tuple(chunk.to(device, non_blocking) for chunk in self.chunks), places)


def move(features: Any, device: torch.device | str, non_blocking: bool = False) -> Any:
    """Move what a collate function returned: tensors in any nesting, objects with a `to`; the rest stays as it is."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(device, non_blocking=non_blocking)
        return leaf.to(device) if hasattr(leaf, "to") else leaf

    return _map(features, moved)


def cast(features: Any, weights: nn.Module) -> Any:
    """Give floating-point features the dtype of the module that reads them: half-precision weights take no other."""
    dtype = _float_dtype(weights)
    if dtype is None:
        return features

    def as_read(leaf: Any) -> Any:
        return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return as_read(features) if isinstance(features, Tensor) else _map(features, as_read)


def _float_dtype(weights: nn.Module) -> torch.dtype | None:
    """Of the first floating-point parameter; None where there is none."""
    for module in modules_of(weights):
        for parameter in module._parameters.values():
            if parameter is not None and parameter.is_floating_point():
                return parameter.dtype
    return None


def _map(features: Any, change: Callable[[Any], Any]) -> Any:
    """Change every leaf: no mapping, list or tuple, or one that knows itself how to move (as a packed sequence)."""
    if isinstance(features, Mapping):  # also Hugging Face's BatchEncoding, which is no dict
        return {key: _map(value, change) for key, value in features.items()}
    if isinstance(features, (list, tuple)) and not hasattr(features, "to"):
        values = [_map(value, change) for value in features]
        return type(features)(*values) if hasattr(features, "_fields") else type(features)(values)
    return change(features)
