"""Random numbers that every process and every run agrees on, for code that draws them from the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class PrivateRandomness:
    """States of the global generators (Python's, numpy's and torch's on the CPU) that belong to one reader alone.

    A torch `RandomSampler` draws its order from the global generator, which differs between processes and after a
    restart. Drawing inside `lent` gives the same order everywhere, and leaves everybody else's random numbers alone.

    Args:
        seed: where the states come from.
        epoch: likewise.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        number = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
        self._states: tuple[Any, Any, Any] = (
            random.Random(number).getstate(),
            np.random.RandomState(number).get_state(),
            torch.Generator().manual_seed(number).get_state(),
        )

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let the global generators continue from the private states, and put them back afterwards."""
        others = _states()
        _set(self._states)
        try:
            yield
        finally:
            self._states = _states()
            _set(others)


def _states() -> tuple[Any, Any, Any]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set(states: tuple[Any, Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
