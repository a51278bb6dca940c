"""Sums over an epoch, kept beside Lightning's own logging.

A call of `LightningModule.log` costs more than a cached training step, and under DDP it waits for every process to have
logged the same names, which one whose share of the validation data is empty never does.
"""

from __future__ import annotations

from torch import Tensor

from simlearn.distributed import gather_objects
from simlearn.precision import double_on


class EpochSums:
    """Weighted values and counts by name, summed on the device where they arise."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._weights: dict[str, float] = {}

    def add(self, name: str, value: Tensor, weight: float = 1.0) -> None:
        """Add `weight` times a scalar."""
        # In double where the device has it: in single precision the mean of a long epoch would depend on its order.
        wide = value.detach().to(double_on(value.device)) * weight
        self._sums[name] = self._sums[name] + wide if name in self._sums else wide
        self._weights[name] = self._weights.get(name, 0.0) + weight

    def take(self, prefix: str, over_processes: bool) -> dict[str, tuple[float, float]]:
        """The sums and weights of all names that start with `prefix`; they start anew.

        Args:
            prefix: how the names start.
            over_processes: add up those of all processes, which may know different names; False where each has seen
                the same.
        """
        names = [name for name in self._sums if name.startswith(prefix)]
        own = {name: (float(self._sums.pop(name)), self._weights.pop(name)) for name in names}
        totals: dict[str, tuple[float, float]] = {}
        for part in gather_objects(own) if over_processes else [own]:
            for name, (value, weight) in part.items():
                before = totals.get(name, (0.0, 0.0))
                totals[name] = (before[0] + value, before[1] + weight)
        return totals
