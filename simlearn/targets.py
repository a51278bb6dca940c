"""What a batch is to be told besides its objects."""

from __future__ import annotations

from typing import Protocol, TypeVar

import torch

_Self = TypeVar("_Self", bound="Targets")


class Targets(Protocol):
    """What samples say of their objects: a `Relation`, or whatever else a kind of samples has, such as numbers."""

    def to(self: _Self, device: torch.device | str, non_blocking: bool = False) -> _Self:
        """The same on another device."""
        ...

    def gather(self: _Self) -> _Self:
        """Those of all processes, by rank."""
        ...
