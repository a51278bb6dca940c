"""Losses that are made of losses: how they are written into a config and read from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simlearn.losses.similarity_loss import SimilarityLoss


def config_of(loss: SimilarityLoss) -> dict[str, Any]:
    """The loss as JSON can hold it: its class by name and its arguments."""
    return {"type": type(loss).__name__, **loss.get_config_dict()}


def loss_from(given: SimilarityLoss | Mapping[str, Any]) -> SimilarityLoss:
    """The loss itself, or one of the library's losses from what `config_of` wrote.

    Raises:
        ValueError: for a config of a loss that is not the library's; make that one and pass it.
        TypeError: for anything else.
    """
    if isinstance(given, SimilarityLoss):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"expected a loss, or the config of one, got {type(given).__name__}")
    import simlearn.losses as room  # it imports this module

    arguments = dict(given)
    name = arguments.pop("type", None)
    kind = getattr(room, name) if name in room.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, SimilarityLoss)):
        raise ValueError(f"{name!r} is no loss of simlearn, so no config makes it; pass the loss itself")
    return kind(**arguments)
