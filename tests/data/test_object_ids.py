"""Which objects of a batch are the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from simlearn.data.object_ids import ObjectIds


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
