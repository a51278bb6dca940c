"""Components as JSON for people, the same for equal ones, and simlearn's own made of it again."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from foreign_components import Kind, scaled
from torch import nn

from simlearn.components import described, from_description
from simlearn.distances import Distance
from simlearn.encoders import HashedNGrams
from simlearn.losses import SimilarityLoss, TripletLoss


class Anything:
    def __init__(self, gain: float) -> None:
        self.gain = gain


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (HashedNGrams(8, (2,)), {"type": "HashedNGrams", "buckets": 8, "lengths": [2]}),
        ({1: (2, {3})}, {"1": [2, [3]]}),
        (np.float32(0.5), 0.5),
        (Distance.COSINE, "cosine"),
        (Kind.DOUBLE, 2),
        (nn.Dropout(0.25), {"layer": "Dropout", "settings": {"p": 0.25, "inplace": False}}),
        (scaled, "foreign_components.scaled"),
        (
            functools.partial(scaled, gain=2),
            {"type": "partial", "function": "foreign_components.scaled", "arguments": [[], {"gain": 2}]},
        ),
    ],
)
def test_described(value: Any, told: Any) -> None:
    assert described(value) == told
    json.dumps(described(value))


def test_no_address_is_told() -> None:
    assert described(Anything(1.0)) == described(Anything(1.0))
    assert described([Anything(1.0), lambda: 1]) == described([Anything(1.0), lambda: 1])


def test_made_again() -> None:
    loss = TripletLoss(0.25, "euclidean")
    again = from_description(described(loss), SimilarityLoss, "loss")
    assert type(again) is TripletLoss and described(again) == described(loss)
    assert from_description(loss, SimilarityLoss, "loss") is loss
    with pytest.raises(ValueError, match="'Mine' is no loss of simlearn, so no config makes it; pass the loss itself"):
        from_description({"type": "Mine"}, SimilarityLoss, "loss")
    with pytest.raises(TypeError, match="expected a loss, or the config of one, got int"):
        from_description(3, SimilarityLoss, "loss")
