"""Figures of a step, of processes that may keep something else each."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.distributed import all_reduce_sum


class Figures:
    """Sums by name, and what each is divided by: over processes the sum of the sums by the sum of their weights."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Tensor | float, Tensor | float]] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._told.clear()

    def add(self, name: str, total: Tensor | float, weight: Tensor | float) -> None:
        """Tell one, in place of an earlier one of its name."""
        self._told[name] = total, weight

    def over(self, processes: bool, device: torch.device) -> dict[str, Tensor]:
        """All by name; of all processes, which then tell the same ones in the same order."""
        numbers = [torch.as_tensor(one, device=device).float() for pair in self._told.values() for one in pair]
        told = torch.stack(numbers).view(-1, 2)
        if processes:
            told = all_reduce_sum(told)
        return {name: total / weight for name, (total, weight) in zip(self._told, told, strict=True)}
