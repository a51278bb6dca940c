"""The states of all layers of a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_INSTALLED = "_output_capturing_hooks_installed"


def hidden_states(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """What goes into the first layer, and what comes out of each (N, M, D).

    transformers puts hooks on a model that is asked for them, and leaves them there. They are taken away again: a model
    with hooks cannot be told from one that somebody has changed.

    Args:
        model: of transformers.
        inputs: what it reads.
    """
    had = getattr(model, _INSTALLED, False)
    before = {id(part): set(part._forward_hooks) for part in model.modules()}
    try:
        states: tuple[Tensor, ...] = model(**inputs, output_hidden_states=True, return_dict=True).hidden_states
    finally:
        if not had and getattr(model, _INSTALLED, False):
            delattr(model, _INSTALLED)
            for part in model.modules():
                for name in set(part._forward_hooks) - before[id(part)]:
                    del part._forward_hooks[name]
    return states
