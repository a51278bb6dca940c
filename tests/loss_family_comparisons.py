"""How to make the losses of one family, and what they are in plain loops; read by `tests/contracts/test_losses.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simlearn.losses import SimilarityLoss

# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {}

# The value of each loss, from plain Python numbers; see `loss_oracles.ORACLES`.
ORACLES: dict[type[SimilarityLoss], Callable[..., float]] = {}

# Losses that take graded scores of pairs.
GRADED: tuple[type[Any], ...] = ()
