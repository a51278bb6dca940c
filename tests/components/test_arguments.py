"""What a constructor was given is read from its signature, and what it is now from attributes of the same names."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import Any

import pytest
import torch
from torch import nn

from simlearn.components import Component
from simlearn.components.arguments import arguments_of, construct, is_plain, parameters_of
from simlearn.distances import Distance
from simlearn.losses import NPairLoss


class Plain(Component):
    def __init__(self, first: Any, second: int = 2, /, *rest: Any, third: Any = None, **more: Any) -> None:
        self.first, self._second, self.kept = first, second, third
        self.rest = rest


class Bare:
    """No component, so that attributes alone tell."""

    def __init__(self, size: int, gain: float = 1.0) -> None:
        self.size, self._gain = size, gain


def test_by_names() -> None:
    told = arguments_of(Plain("a", 3, 4, 5, third=6, other=7))
    assert told.held == {"first": "a", "second": 3, "rest": (4, 5), "third": 6, "other": 7}
    assert list(told.held) == ["first", "second", "rest", "third", "other"]
    assert arguments_of(Plain("a")).held == {"first": "a", "second": 2, "rest": ()}  # None by default is left out


def test_attributes_tell_what_is_now() -> None:
    plain = Plain("a", 3)
    plain.first, plain._second = "b", 4
    assert arguments_of(plain).held == {"first": "b", "second": 4, "rest": ()}
    assert arguments_of(plain).given == {"first": "a", "second": 3, "rest": ()}
    plain.first = nn.ReLU()  # made of the argument, and not the argument
    assert arguments_of(plain).held["first"] == "a"


def test_without_what_was_given() -> None:
    assert arguments_of(Bare(3, 2.0)).held == {"size": 3, "gain": 2.0}
    bare = Bare(3)
    del bare.size
    assert arguments_of(bare).missing == ("size",)


def test_construct_is_the_inverse() -> None:
    plain = Plain("a", 3, 4, 5, third=6, other=7)
    again = construct(Plain, arguments_of(plain).held)
    assert arguments_of(again).held == arguments_of(plain).held
    with pytest.raises(TypeError, match="lacks the argument 'first'"):
        construct(Plain, {"second": 3})
    with pytest.raises(TypeError, match="unexpected keyword argument 'evil'"):
        construct(Bare, {"size": 1, "evil": 2})


def test_names_among_others_that_clash() -> None:
    with pytest.raises(TypeError, match=r"was given \['first'\] among its \*\*more, names of its own parameters"):
        arguments_of(Plain("a", 3, first=4))


def test_members_of_enumerations_are_names_for_simlearns_own() -> None:
    assert arguments_of(NPairLoss()).held["distance_metric_name"] == "dot_product"
    assert arguments_of(Plain(Distance.COSINE)).held["first"] is Distance.COSINE


def test_classes_that_tell_no_parameters() -> None:
    with pytest.raises(TypeError, match="does not tell what its constructor takes"):
        parameters_of(timedelta)


def test_what_cannot_be_pickled_is_forgotten() -> None:
    plain = Plain("a", 3, lambda: 1)
    plain.rest = ()
    copy = pickle.loads(pickle.dumps(plain))
    assert copy.__dict__["_given"] is None and arguments_of(copy).held["first"] == "a"
    whole = pickle.loads(pickle.dumps(Plain("a", 3, torch.ones(2), [nn.ReLU()])))
    assert len(arguments_of(whole).given["rest"]) == 2


@pytest.mark.parametrize("value", [1, "a", None, b"a", [1, ("a", {2})], {"a": {1: None}}, Distance.COSINE, 1.5])
def test_plain(value: Any) -> None:
    assert is_plain(value)


@pytest.mark.parametrize("value", [torch.ones(1), nn.ReLU(), [object()], {"a": len}, lambda: 1])
def test_not_plain(value: Any) -> None:
    assert not is_plain(value)
