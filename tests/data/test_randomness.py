"""Random numbers that belong to one reader."""

from __future__ import annotations

import random

import numpy as np
import torch

from simlearn.data.randomness import PrivateRandomness


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_same_numbers_whatever_went_before() -> None:
    drawn = []
    for _ in range(2):
        draw()
        randomness = PrivateRandomness(3, 1)
        with randomness.lent():
            first = draw()
        draw()
        with randomness.lent():
            drawn.append((first, draw()))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[0][1]


def test_other_epochs_draw_other_numbers() -> None:
    drawn = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        with PrivateRandomness(seed, epoch).lent():
            drawn.append(draw())
    assert len(set(drawn)) == 3


def test_others_do_not_notice() -> None:
    def seed() -> None:
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)

    seed()
    expected = draw()
    seed()
    try:
        with PrivateRandomness(0, 0).lent():
            draw()
            raise KeyError
    except KeyError:
        pass
    assert draw() == expected
