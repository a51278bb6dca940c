from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from simlearn import VectorEncoder


def test_vectors_of_any_kind() -> None:
    encoder = VectorEncoder(2)
    given: list[Any] = [[1, 2], (3.0, 4.0), np.array([5, 6], np.float64), torch.tensor([7.0, 8.0], requires_grad=True)]
    found = encoder(encoder.get_collate_fn()(given))
    assert found.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]] and not found.requires_grad
    assert encoder.get_collate_fn()([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0], "of size 2, got one of shape"),
        ([[1.0, 2.0]], "of size 2, got one of shape"),
        ("text", "reads vectors, got 'text'"),
        ([float("nan"), 0.0], "NaN or infinity"),
    ],
)
def test_bad_vectors(value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        VectorEncoder(2).get_collate_fn()([value])


def test_bad_size() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        VectorEncoder(0)
