"""What a loss says of a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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


def anchor_counts(has_positive: Tensor, has_negative: Tensor) -> dict[str, Tensor]:
    """How many anchors lack a positive, and how many a negative, of (N,) bools."""
    return {"anchors_without_positive": (~has_positive).sum(), "anchors_without_negative": (~has_negative).sum()}
