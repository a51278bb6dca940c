"""Keys that were right before others were mended are what they were: caches on disk hold them."""

from __future__ import annotations

import datetime
import enum
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from simlearn.hashing import content_key


class Level(enum.Enum):
    LOW = 1


@dataclass
class Product:
    title: str
    image: Any


UTC = datetime.timezone.utc
RAMP = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)

WERE_RIGHT: list[tuple[Any, str]] = [
    ("spoon", "442d28ae159e8a4a04dc8936741ed30c"),
    ("", "bbf7769fea5c8d41a9068bd6edbb2c13"),
    ("\ud800", "508efc9cc17d19384103a819f8e36eb3"),
    (np.str_("spoon"), "442d28ae159e8a4a04dc8936741ed30c"),
    (b"spoon", "b5b0a844207e8ae2bd5a2b7b870b7eb4"),
    (np.bytes_(b"spoon"), "b5b0a844207e8ae2bd5a2b7b870b7eb4"),
    (bytearray(b"spoon"), "d29c6274476d154e1a302e179934fdb6"),
    (None, "4ee3fdf7a7a38af04951408152eaad1f"),
    (True, "07b42707b9795ab7201298d655880bcd"),
    (3, "0296b8ced56267f8d96308f813089e89"),
    (10**30, "9633c5c4782e1b07c7d3196be97a02d3"),
    (2.5, "5b53bd4f56d019ffe79338d77a332efb"),
    (float("nan"), "d17edf75cb74e31fe55b8a7ed4ecbd87"),
    (Level.LOW, "e0e8f23f71a3f5120a715a8672f4dbc8"),
    (datetime.date(2020, 1, 2), "ecdf600c66074fc8c8b0cf8c90e8742e"),
    (datetime.datetime(2020, 1, 2, 3), "86be22b13b4d4a31c384aa66b1f690e4"),
    (datetime.datetime(2020, 1, 2, tzinfo=UTC), "0b58c37a1bc95a76f002eaa8e69d8ed7"),
    (
        datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        "3154f367b3196300f554a52d54ca524c",
    ),
    (datetime.time(3, 4), "9658d75cd64d19a895099b8d52a1cc1b"),
    (datetime.timedelta(1, 2, 3), "f65c6e1fd512c99aa4bc8e29b69e62ec"),
    (uuid.UUID(int=7), "cf0c963d7ce685fbb4561a5dedb9f45d"),
    (Path("a/b"), "d3c84e1f28414fb0f11a6c3a4115a9d1"),
    (("a", 1, 2.5), "bcd38b02dd5ff01ed8ddef5207f2f0e9"),
    (["a", ["b", None]], "da24a54f904142703f9992c014379d1b"),
    ({"title": "a", "price": 1.5}, "f7c2cb9c501da7607058cafcff8a4b5b"),
    (OrderedDict(title="a"), "0c164bbc23d1579bdec8b9969a145735"),
    ({1, 2}, "98d4d42ec38e36bf45c29a07ab1928ef"),
    (frozenset({"a"}), "c0bcfd63223f2d0025acbef5f3485fa2"),
    (Product("a", np.ones(2)), "06c81dbb7cebf1f0655bccae903ff9ba"),
    (np.arange(6, dtype=np.float32).reshape(2, 3), "8ea381bd348902d58ffaa5c77233a2fa"),
    (np.arange(3, dtype=">i4"), "365a5375098d9af5685060f02827870c"),
    (np.array([(1, 2)], dtype=[("x", "<i4"), ("y", "<i4")]), "90543c48c83ed71349bb81c4eca7213c"),
    (np.array(["a", None], dtype=object), "29cbaa3f4f48356c1e0404cc3be33e5f"),
    (np.float64(3), "432c7c328d8b831db23c0ba3b75d5406"),
    (np.int64(3), "14c7fd4b008791d97ba928520e9ca040"),
    (torch.arange(3.0), "fc3df79e12635fd8ebff69ab4f300bb3"),
    (torch.ones(2, dtype=torch.bfloat16), "5d23382e8a1a7acee5bf7f78977bf32c"),
    (torch.nn.Parameter(torch.ones(2)), "81c0bd3982ef23d03358ac1fb725a579"),
    (torch.tensor([True]), "7740213acc1fc381b71578d847a7bd39"),
    (Image.fromarray(RAMP), "028ccb327101c8634de4b01ffc391cae"),
    (Image.fromarray(RAMP[..., 0].copy()), "c8076b7650a04290f84ee3722db816d8"),
]


@pytest.mark.parametrize(("value", "key"), WERE_RIGHT, ids=lambda value: f"{type(value).__name__}")
def test_keys_that_were_right_stay(value: Any, key: str) -> None:
    """Written down before what extends a type had a key of its own; caches on disk hold them."""
    assert content_key(value).hex() == key
