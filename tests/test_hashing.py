"""Names of groups and objects: what keeps its value, what agrees, what differs, what is refused."""

from __future__ import annotations

import datetime
import enum
import os
import subprocess
import sys
import uuid
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simlearn.hashing import stable_id

INT64 = st.integers(-(2**63), 2**63 - 1)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.timedeltas(),
    st.uuids(),
)
NAMES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4))

Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Kind(str, enum.Enum):
    SPOON = "spoon"


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


@dataclass(frozen=True)
class Product:
    shop: str
    number: int
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Item:
    shop: str
    number: int


@dataclass
class Changeable:
    number: int


@given(INT64)
def test_integers_keep_their_value(value: int) -> None:
    assert stable_id(value) == value
    assert stable_id(np.int64(value)) == value
    assert stable_id(torch.tensor(value)) == value
    assert stable_id(np.array(value)) == value


@given(st.integers(-(2**53), 2**53))
def test_integral_floats_keep_their_value(value: int) -> None:
    assert stable_id(float(value)) == stable_id(np.float64(value)) == value
    assert stable_id(torch.tensor(float(value), dtype=torch.float64)) == value


@pytest.mark.parametrize(
    "value", [np.int8(3), np.uint64(3), np.float16(3), np.float32(3), np.array(3.0), Level.LOW, True]
)
def test_small_numbers_keep_their_value(value: Any) -> None:
    assert stable_id(value) == int(value)


def test_zero_stays_zero() -> None:
    assert stable_id(0) == stable_id(0.0) == stable_id(-0.0) == stable_id(False) == stable_id(np.bool_(False)) == 0


@given(NAMES)
def test_every_supported_name_has_one_id_of_64_bits(name: Any) -> None:
    assert -(2**63) <= stable_id(name) < 2**63
    assert stable_id(name) == stable_id(name)


@given(NAMES, NAMES)
def test_equal_names_and_only_they_agree(first: Any, second: Any) -> None:
    assert (stable_id(first) == stable_id(second)) == (first == second)


@given(st.lists(LEAVES, max_size=5))
def test_the_order_of_a_set_does_not_matter_and_that_of_a_tuple_does(leaves: list[Any]) -> None:
    assert stable_id(frozenset(leaves)) == stable_id(frozenset(reversed(leaves)))
    assert stable_id((frozenset(leaves), 1)) == stable_id((frozenset(reversed(leaves)), 1))
    if leaves != leaves[::-1]:
        assert stable_id(tuple(leaves)) != stable_id(tuple(reversed(leaves)))


@given(st.datetimes(timezones=st.timezones()), st.timezones())
def test_a_moment_has_one_id_in_every_time_zone(moment: datetime.datetime, zone: datetime.tzinfo) -> None:
    try:
        elsewhere = moment.astimezone(datetime.timezone.utc).astimezone(zone)
    except OverflowError:
        return
    assert stable_id(moment) == stable_id(elsewhere)
    assert stable_id(moment) != stable_id(moment.replace(tzinfo=None))


LOOK_ALIKES = [
    ("1", 1, b"1", (1,), ("1",), frozenset({1}), 1.5, "1.5", None, "None", "", b"", (), frozenset(), ((),)),
    (("a", "b"), ("ab",), ("a", ("b",)), "ab", b"ab", ("b", "a"), frozenset({"a", "b"}), (b"a", b"b")),
    (
        datetime.date(2020, 1, 2),
        datetime.datetime(2020, 1, 2),
        "2020-01-02",
        datetime.time(20, 20),
        datetime.timedelta(1),
    ),
    (uuid.UUID(int=1), 1, str(uuid.UUID(int=1)), PurePosixPath("a/b"), "a/b", uuid.UUID(int=1).bytes),
    (Colour.RED, Colour.BLUE, "red", "RED", Access.READ, Access.READ | Access.WRITE, Access.READ | Access.RUN),
    (Product("a", 1), Item("a", 1), ("a", 1), Product("a", 2), (Product("a", 1),)),
    (2**63, 2**64, -(2**63) - 1, float(2**63) * 2, float("inf"), -float("inf"), 0.1, np.float32(0.1)),
]


@pytest.mark.parametrize("values", LOOK_ALIKES, ids=[str(number) for number in range(len(LOOK_ALIKES))])
def test_values_that_look_alike_differ(values: tuple[Any, ...]) -> None:
    distinct = {stable_id(value) for value in values}
    equal_in_python = len({float(v) if isinstance(v, (int, float)) else v for v in values})
    assert len(distinct) == equal_in_python


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Kind.SPOON, "spoon"),
        (np.str_("spoon"), "spoon"),
        (np.bytes_(b"spoon"), b"spoon"),
        (Point(1, 2), (1, 2)),
        ((1, 2.0, True), (1.0, 2, 1)),
        ((np.int64(1), np.str_("a")), (1, "a")),
        (frozenset({np.float64(1)}), frozenset({1})),
        (np.datetime64("2020-01-02"), datetime.date(2020, 1, 2)),
        (pd.Timestamp(2020, 1, 2), datetime.datetime(2020, 1, 2)),
        (Path("a") / "b", PurePosixPath("a/b")),
        (Product("a", 1, note="x"), Product("a", 1, note="y")),
    ],
    ids=lambda value: f"{value!r:.20}",
)
def test_names_that_agree(first: Any, second: Any) -> None:
    assert stable_id(first) == stable_id(second)


def test_integers_longer_than_python_prints_have_names() -> None:
    assert stable_id(10**5000) != stable_id(10**5000 + 1)


def test_thousands_of_names_do_not_collide() -> None:
    names = [f"group {number}" for number in range(20_000)]
    names += [(number, "x") for number in range(20_000)] + [number + 0.5 for number in range(20_000)]
    assert len({stable_id(name) for name in names} | set(range(20_000))) == 80_000


IN_OTHER_PROCESSES = [
    "spoon",
    b"spoon",
    None,
    0.5,
    2**70,
    ("a", 1, ("b",)),
    frozenset({"a", "b", "c", "d", ("e",)}),
    uuid.UUID(int=7),
    datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
    {"a": [1, 2.5], "b": {"x", "y", "z"}},
]
PROBE = """
import sys, pickle
from simlearn.hashing import content_key, stable_id
values = pickle.loads(sys.stdin.buffer.read())
print([None if isinstance(value, dict) else stable_id(value) for value in values])
print([content_key(value).hex() for value in values])
assert not {"numpy", "torch", "PIL"} & set(sys.modules)
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_other_processes_agree(seed: str) -> None:
    import pickle

    from simlearn.hashing import content_key

    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", PROBE], input=pickle.dumps(IN_OTHER_PROCESSES), capture_output=True, env=environment
    )
    assert answer.returncode == 0, answer.stderr.decode()
    ids = [None if isinstance(value, dict) else stable_id(value) for value in IN_OTHER_PROCESSES]
    keys = [content_key(value).hex() for value in IN_OTHER_PROCESSES]
    assert answer.stdout.decode().splitlines() == [str(ids), str(keys)]


def test_ids_never_change() -> None:
    """Checkpoints and caches hold them."""
    assert stable_id("spoon") == -8917460221483186356
    assert stable_id(("a", 1, 0.5, None)) == -4747777139303309121
    assert stable_id(frozenset({"a", 2})) == -2200260690434894952
    assert stable_id(uuid.UUID(int=7)) == -6238504826891132960
    assert stable_id(datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)) == 8925304697675557151
    assert stable_id(datetime.timedelta(1, 2, 3)) == 4131564188921395891
    assert stable_id(PurePosixPath("a/b")) == 3422160719343250525


def test_nanoseconds_count() -> None:
    assert len({stable_id(pd.Timedelta(number, "ns")) for number in range(3)}) == 3
    assert stable_id(pd.Timedelta(1000, "ns")) == stable_id(datetime.timedelta(microseconds=1))


def test_what_is_nested_without_end_or_too_deeply_is_refused() -> None:
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    holder = Product("a", 1)
    object.__setattr__(holder, "shop", (holder,))
    for value in (deep, holder):
        with pytest.raises(ValueError, match=r"group: a (tuple|Product) contains itself, or is .* pass `group_key=`"):
            stable_id(value)


@pytest.mark.parametrize(
    "value",
    [float("nan"), np.float32("nan"), torch.tensor(float("nan")), (1, float("nan")), np.datetime64("NaT"), pd.NaT],
    ids=repr,
)
def test_what_equals_nothing_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"group .*equals nothing.*`group_key=`"):
        stable_id(value)


@pytest.mark.parametrize(
    "value",
    [[1], {"a": 1}, {1}, ([1],), frozenset({Changeable}), Changeable(1), Product, np.ones(2), np.ones(1), torch.ones(1)]
    + [object(), 1j, range(3), bytearray(b"a"), pd.NA, print],
    ids=lambda value: type(value).__name__,
)
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="pass `group_key=`"):
        stable_id(value)


def test_the_error_says_what_the_value_is_and_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"subgroup \[1, 2\]: a list has no stable name; pass `subgroup_key=`"):
        stable_id([1, 2], name="subgroup")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label nan: NaN equals nothing, not even itself; use a str"):
        stable_id(float("nan"), name="label", cure="use a str")
    with pytest.raises(TypeError, match="the dataclass Changeable is not frozen"):
        stable_id(Changeable(1))  # type: ignore[arg-type]
