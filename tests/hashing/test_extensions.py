"""What extends a built-in type, or says more than its values, has a key of its own."""

from __future__ import annotations

import datetime
import enum
import sys
import warnings
import zoneinfo
from collections import Counter, UserString, defaultdict, namedtuple
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from simlearn.hashing import content_key


def distinct(*values: Any) -> bool:
    return len({content_key(value) for value in values}) == len(values)


Point = namedtuple("Point", "x y")
Pixel = namedtuple("Pixel", "x y")


class Titled(Point):
    """A namedtuple with attributes of its own."""

    title = "a"


class Kind(str, enum.Enum):
    SPOON = "spoon"
    LADLE = "ladle"


class Rank(enum.IntEnum):
    FIRST = 1


class Mark(enum.IntFlag):
    FIRST = 1


class Language(str):
    def __new__(cls, text: str, language: str = "en") -> Language:
        made = super().__new__(cls, text)
        made.language = language
        return made

    @cached_property
    def words(self) -> list[str]:
        return self.split()


class Slotted(str):
    __slots__ = ("__hidden", "language")

    def __new__(cls, text: str, language: str = "en", hidden: int = 0) -> Slotted:
        made = super().__new__(cls, text)
        made.language = language
        made.__hidden = hidden
        return made


def test_namedtuples_differ_by_class_and_field_names() -> None:
    renamed: Any = namedtuple("Point", "row column")
    swapped: Any = namedtuple("Point", "y x")
    assert distinct(Point(1, 2), Pixel(1, 2), renamed(1, 2), swapped(1, 2), Titled(1, 2), Point(2, 1), (1, 2), [1, 2])
    assert distinct([Point(1, 2)], [(1, 2)]) and distinct({"at": Point(1, 2)}, {"at": (1, 2)})
    again: Any = namedtuple("Point", "x y")
    assert content_key(Point(1, 2)) == content_key(again(1, 2)) == content_key(Point._make([1, 2]))
    assert distinct(torch.Size([1, 2]), (1, 2))


def test_what_extends_a_type_is_told_from_it() -> None:
    class Plain(dict):  # type: ignore[type-arg]
        pass

    class Items(list):  # type: ignore[type-arg]
        pass

    class Number(float):
        pass

    class Raw(bytes):
        pass

    class Moment(datetime.datetime):
        pass

    assert distinct(Kind.SPOON, Kind.LADLE, "spoon", Language("spoon"), Language("spoon", "de"), Slotted("spoon"))
    assert distinct(Rank.FIRST, Mark.FIRST, 1, True, 1.0)
    assert distinct(Number(1.0), 1.0) and distinct(Raw(b"a"), b"a") and distinct(Items("a"), ["a"], ("a",))
    assert distinct({"a": 1}, Plain(a=1), Counter(a=1), defaultdict(int, a=1), defaultdict(None, a=1))
    assert distinct(defaultdict(int, a=1), defaultdict(str, a=1), defaultdict(list, a=1))
    assert distinct(Moment(2020, 1, 2), datetime.datetime(2020, 1, 2), pd.Timestamp(2020, 1, 2))
    assert distinct(frozenset({1}), type("Names", (frozenset,), {})({1}))


def test_the_same_again_has_the_same_key() -> None:
    for make in (
        lambda: Kind.SPOON,
        lambda: Language("spoon", "de"),
        lambda: Slotted("spoon", "de", 3),
        lambda: defaultdict(int, a=1),
        lambda: pd.Timestamp(2020, 1, 2, tz="Europe/Berlin"),
        lambda: np.ma.array([1, 2], mask=[False, True]),
        lambda: [Rank.FIRST, {"at": Point(1, 2)}],
    ):
        assert content_key(make()) == content_key(make())


def test_attributes_count_and_what_is_derived_from_them_does_not() -> None:
    before = content_key(text := Language("a red spoon"))
    assert text.words and content_key(text) == before
    assert distinct(Slotted("a"), Slotted("a", "de"), Slotted("a", hidden=1))


def test_attributes_without_a_key_are_refused() -> None:
    with pytest.raises(TypeError, match="objects of type function have no content key; give a key function"):
        content_key(defaultdict(lambda: 0, a=1))
    with pytest.raises(TypeError, match="objects of type object have no content key"):
        content_key(Language("a", object()))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="objects of type UserString"):
        content_key(UserString("a"))


def test_arrays_that_say_more_than_their_values() -> None:
    plain, filled = np.array([1, 2]), np.array([1, 999999])
    masked = np.ma.array([1, 2], mask=[False, True])
    assert distinct(plain, filled, masked, np.ma.array([1, 2]), np.ma.array([1, 2], mask=[True, False]))
    assert distinct(masked, np.ma.array([1, 2], mask=[False, True], fill_value=7), np.ma.array([1, 3], mask=[0, 1]))
    pair = np.array([(1, 2.0)], dtype=[("x", "i4"), ("y", "f4")])
    assert distinct(pair, pair.view(np.recarray))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        assert distinct(np.matrix([[1, 2]]), np.array([[1, 2]]))


def test_a_mapped_array_is_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0))
    assert content_key(np.load(tmp_path / "a.npy", mmap_mode="r")) == content_key(np.arange(6.0))


def test_tensors_that_are_more_than_their_numbers() -> None:
    class Box(torch.Tensor):
        pass

    box = torch.ones(2).as_subclass(Box)
    assert distinct(box, torch.ones(2)) and content_key(box) == content_key(torch.ones(2).as_subclass(Box))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)
        nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    for tensor in (quantised, nested, torch.ones(2, device="meta")):
        with pytest.raises(TypeError, match="objects of type Tensor have no content key"):
            content_key(tensor)


def test_times_differ_by_fold_and_by_the_name_of_their_zone() -> None:
    hour = datetime.timezone(datetime.timedelta(hours=1))
    named = datetime.timezone(datetime.timedelta(hours=1), "CET")
    zones = [None, hour, named, zoneinfo.ZoneInfo("Europe/Berlin"), zoneinfo.ZoneInfo("Europe/Paris")]
    assert distinct(*[datetime.datetime(2020, 1, 2, tzinfo=zone) for zone in zones])
    assert distinct(*[datetime.time(1, 2, tzinfo=zone) for zone in zones])
    assert distinct(datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 2, fold=1))
    assert distinct(datetime.time(1), datetime.time(1, fold=1))


def test_nanoseconds_count() -> None:
    assert distinct(*[pd.Timedelta(number, "ns") for number in (0, 1, 2, 1000)], datetime.timedelta(microseconds=1))
    assert distinct(*[pd.Timestamp(number, unit="ns") for number in (0, 1, 2)])


@pytest.mark.skipif(sys.platform == "win32", reason="its own paths are the others here")
def test_paths_of_another_system_are_others() -> None:
    assert distinct(PurePosixPath("a/b"), PureWindowsPath("a/b"), "a/b")
    assert content_key(Path("a/b")) == content_key(PurePosixPath("a/b"))
