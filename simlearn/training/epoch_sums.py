"""Sums over an epoch, kept beside Lightning's own logging.

A call of `LightningModule.log` costs more than a cached training step, and under DDP it waits for every process to have
logged the same names, which one whose share of the validation data is empty never does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.distributed import all_reduce_sum


class EpochSums:
    """Weighted values and counts by name, summed on the device where they arise."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        """Add `weight` times a scalar."""
        # In double where the device has it: in single precision the mean of a long epoch would depend on its order.
        wide = value.detach().to(torch.float32 if value.device.type == "mps" else torch.float64) * weight
        self._sums[name] = self._sums[name] + wide if name in self._sums else wide
        self._weights[name] = self._weights.get(name, 0.0) + weight

    def mean(self, name: str, device: torch.device) -> float | None:
        """The weighted mean over all processes, None where nothing was added anywhere; the name starts anew."""
        total = self._sums.pop(name, None)
        value = 0.0 if total is None else float(total)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        sums = all_reduce_sum(torch.tensor([value, self._weights.pop(name, 0.0)], dtype=dtype, device=device))
        return float(sums[0] / sums[1]) if sums[1] > 0 else None

    def totals(self, prefix: str) -> dict[str, float]:
        """This process's sums whose names start with `prefix`; they start anew."""
        names = [name for name in self._sums if name.startswith(prefix)]
        for name in names:
            self._weights.pop(name)
        return {name: float(self._sums.pop(name)) for name in names}
