"""Which objects of a batch are the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simlearn.data.object_ids import ObjectIds
from simlearn.hashing import content_key


class Opaque:
    """Has no content that could be named."""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("text", "".join(["te", "xt"])),
        ({"title": "a", "price": 1.5}, {"title": "a", "price": 1.5}),
        (np.arange(4.0), np.arange(4.0)),
        (torch.ones(2, 3), torch.ones(2, 3)),
    ],
)
def test_equal_content_is_one_object(first: Any, second: Any) -> None:
    ids = ObjectIds()([first, second]).tolist()
    assert ids[0] == ids[1]


def test_different_content_is_not() -> None:
    objects = ["1", 1, 1.0, b"1", ["1"], np.array([1]), torch.tensor([1]), None, {"1": 1}, "", "1 "]
    assert len(set(ObjectIds()(objects).tolist())) == len(objects)


def test_what_has_no_key_is_like_itself_alone() -> None:
    first, second = Opaque(), Opaque()
    ids = ObjectIds()
    a, b, c = ids([first, second, first]).tolist()
    assert a == c != b
    assert ids([second]).tolist() == [b]
    assert ObjectIds()([first]).tolist() != [a]


def test_short_lived_objects_do_not_share_an_address() -> None:
    ids = ObjectIds()
    assert len({ids([Opaque()]).item() for _ in range(100)}) == 100


def test_every_process_agrees() -> None:
    code = "from simlearn.data.object_ids import ObjectIds; print(ObjectIds()(['a', {'b': 1.5}, None]).tolist())"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == f"{ObjectIds()(['a', {'b': 1.5}, None]).tolist()}\n"


def test_no_objects() -> None:
    assert ObjectIds()([]).shape == (0,)
    assert ObjectIds()([]).dtype is torch.long


PLAIN = st.one_of(st.text(max_size=4), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.binary())


@given(st.lists(st.dictionaries(st.text(max_size=3) | st.integers(0, 3), PLAIN, max_size=4), min_size=2, max_size=6))
def test_flat_dictionaries_are_told_as_by_their_content_keys(objects: list[dict[Any, Any]]) -> None:
    objects = [*objects, *(dict(obj) for obj in objects), *(dict(reversed(obj.items())) for obj in objects)]
    ids, keys = ObjectIds()(objects).tolist(), [content_key(obj) for obj in objects]
    for one, key in zip(ids, keys, strict=True):
        assert [one == other for other in ids] == [key == other for other in keys]


def test_a_text_met_twice_is_one_value() -> None:
    """Interned or not, and whoever else holds it: marshal's later versions would tell these apart."""
    title = "".join(["red", " spoon"])
    objects = [{"a": title, "b": title}, {"a": "red spoon", "b": "".join(["red ", "spoon"])}]
    assert len(set(ObjectIds()(objects).tolist())) == 1
