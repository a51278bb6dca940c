"""What a loss says of a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.distributed import all_reduce_sum, world_size
from simlearn.precision import double_on


class LossResult(NamedTuple):
    """A loss as a sum over rows and what it is divided by, so that parts of a batch add up.

    Args:
        total: a scalar in the graph.
        weight: a number or scalar, such as the anchors that count; at least 1 is divided by.
        counts: scalars by name, logged as `<stage>_<name>`; for instance the anchors that had no positive.
    """

    total: Tensor
    weight: Tensor | float
    counts: dict[str, Tensor]

    @property
    def value(self) -> Tensor:
        """The loss: a scalar in the graph."""
        if isinstance(self.weight, Tensor):
            return self.total / self.weight.clamp(min=1).to(self.total.dtype)
        return self.total / max(self.weight, 1.0)

    @classmethod
    def of(cls, value: LossResult | Tensor) -> LossResult:
        """What a `compute` returned, a scalar or a result, as a result."""
        return value if isinstance(value, LossResult) else cls(value, 1, {})

    def numbers(self) -> Tensor:
        """(1 + C,): the weight and the counts, in double where the device has it, without a graph."""
        device = self.total.device
        numbers = [torch.as_tensor(value, device=device).detach() for value in (self.weight, *self.counts.values())]
        return torch.stack([value.to(double_on(device)) for value in numbers])

    def with_numbers(self, total: Tensor, numbers: Tensor) -> LossResult:
        """Another total, weight and counts, under the same names."""
        return LossResult(total, numbers[0], dict(zip(self.counts, numbers[1:], strict=True)))

    def over_processes(self) -> LossResult:
        """The sum of the results of all processes, of which each has seen rows of its own.

        The gradient is that of this process's rows, times their number W, since DDP averages.
        """
        processes, numbers = world_size(), self.numbers()
        shared = all_reduce_sum(torch.cat([self.total.detach()[None].to(numbers.dtype), numbers]))
        value = shared[0].to(self.total.dtype)
        return self.with_numbers(processes * self.total + (value - processes * self.total.detach()), shared[1:])


def anchor_counts(has_positive: Tensor, has_negative: Tensor) -> dict[str, Tensor]:
    """How many anchors lack a positive, and how many a negative, of (N,) bools."""
    return {"anchors_without_positive": (~has_positive).sum(), "anchors_without_negative": (~has_negative).sum()}
