"""Differences between an object and what its constructor would make are found, and named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from foreign_components import SIZE, Around, Gain, Lambda
from torch import nn

from simlearn.components.rebuilding import differences
from simlearn.heads import MLPHead

ARGUMENTS = {"input_embedding_size": SIZE, "gain": 2.0}


def changed(**attributes: Any) -> Gain:
    head = Gain(SIZE, 2.0)
    for name, value in attributes.items():
        setattr(head, name, value)
    return head


def test_none() -> None:
    assert differences(Gain(SIZE, 2.0), ARGUMENTS) == []
    assert differences(Lambda(SIZE, 2.0), ARGUMENTS) == []
    assert differences(MLPHead(SIZE, [3], 2), {"input_embedding_size": SIZE, "hidden": [3], "output": 2}) == []


@pytest.mark.parametrize(
    ("head", "name", "is_plain"),
    [
        (changed(gain=3.0), "gain", True),
        (changed(note="a"), "note", True),
        (changed(note=len), "note", False),
        (changed(note=torch.ones(1)), "note", False),
        (Lambda(SIZE, 3.0), "apply_gain", False),
    ],
    ids=["number", "text", "function", "tensor", "closure"],
)
def test_attributes(head: Any, name: str, is_plain: bool) -> None:
    found = differences(head, ARGUMENTS)
    assert [(one.owner, one.name, one.is_plain) for one in found] == [("", name, is_plain)]


class Streaming(Gain):
    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size, gain)
        self.stream = (one for one in "abc")


def test_what_cannot_be_told_is_called_so() -> None:
    (found,) = differences(Streaming(SIZE, 2.0), ARGUMENTS)
    assert found.name == "stream" and found.is_unknown and not found.is_plain


def test_modules_within_and_shapes() -> None:
    layers = nn.Sequential(nn.Linear(SIZE, SIZE), nn.Dropout(0.5))
    head = Around(SIZE, layers)
    assert differences(head, {"input_embedding_size": SIZE, "inner": layers}) == []
    found = differences(head, {"input_embedding_size": SIZE, "inner": nn.Sequential(nn.Linear(SIZE, 3), nn.ReLU())})
    assert {one.owner for one in found} >= {"inner.0", "inner.1", "state"}


def test_arguments_that_a_class_does_not_take() -> None:
    with pytest.raises(TypeError, match=r"Gain cannot be built again of its arguments \['evil'\]: TypeError"):
        differences(Gain(SIZE), {"evil": 1})


def test_quickly_takes_no_memory() -> None:
    assert differences(changed(gain=3.0), ARGUMENTS, quickly=True)[0].name == "gain"
