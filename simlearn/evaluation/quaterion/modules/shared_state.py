"""How metrics exchange the rows they keep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simlearn.distributed import exchange, gather_parts

_DTYPES = (torch.float32, torch.float64, torch.int64)
_DIMENSIONS = 2


def gather_state(state: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of all processes, by rank; torchmetrics calls it for each state.

    A process that has seen no batch knows neither shape nor type of its rows, and torchmetrics gives a placeholder
    for them, on which its own exchange waits for ever.

    Args:
        state: (n, ...) of at most two dimensions, float32, float64 or int64.
        group: must be None: all processes take part.
    """
    if group is not None:
        raise ValueError("metrics exchange their rows among all processes; process_group must be None")
    rest = list(state.shape[1:]) + [1] * (_DIMENSIONS - state.ndim)
    told = exchange([len(state), state.ndim, *rest, _DTYPES.index(state.dtype)], state.device)
    _, dimensions, *rest, dtype = next((one for one in told if one[0]), told[0])
    if not len(state):
        state = torch.empty((0, *rest[: dimensions - 1]), dtype=_DTYPES[dtype], device=state.device)
    return gather_parts([state])[0]
