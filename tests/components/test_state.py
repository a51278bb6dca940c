"""Which attributes are settings, and which are what methods count and remember."""

from __future__ import annotations

import dataclasses
import enum
import pickle
from typing import Any, NamedTuple

from torch import nn

from simlearn import Encoder
from simlearn.components.memories import GONE, written
from simlearn.components.state import attributes_of, class_members


class Working(Encoder):
    embedding_size = 1  # type: ignore[assignment]

    def __init__(self, scale: float = 1.0, mode: str = "auto", words: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.scale, self.mode, self.vocabulary = scale, mode, dict.fromkeys(words)
        self.stats = {"calls": 0, "limit": 5}
        self.last: Any = None
        self.history: list[Any] = []
        self._lazy: Any = None

    @property
    def lazy(self) -> Any:
        if self._lazy is None:
            self._lazy = object()
        return self._lazy

    def forward(self, batch: Any) -> Any:
        if self.mode == "auto":
            self.mode = "fast"
        self.scale = float(self.scale)
        self.stats["calls"] += 1
        self.last, self.other = batch, self.lazy
        for self.row in batch:
            self.history.append(self.row)
        return batch

    def set_scale(self, scale: float) -> None:
        self.scale = scale


def test_attributes_without_memories() -> None:
    encoder = Working(2.0, words=("a",))
    first = attributes_of(encoder)
    assert first == {
        "scale": 2.0,
        "vocabulary": {"a": None},
        "stats": {"limit": 5},
        "given mode": "auto",
        "given scale": 2.0,
        "given words": ("a",),
    }
    encoder([1, 2])
    assert attributes_of(encoder) == first
    encoder.set_scale(3.0)
    assert attributes_of(encoder)["scale"] == 3.0


def test_what_a_function_changes() -> None:
    table: dict[str, int] = {}

    def fill(rows: list[int], seen: list[int] = []) -> None:  # noqa: B006
        mine = table
        mine["a"] = len(rows)
        rows = [*rows]
        rows.append(1)
        seen.append(1)
        nonlocal_ = {}
        nonlocal_["b"] = 1

    names = written(fill).names
    assert names.filled == {"rows", "seen"}
    assert names.entries == {("table", "a")}
    assert names.remaining("table", {"a": 1, "b": 2}) == {"b": 2}
    assert names.remaining("seen", [1]) is GONE and names.remaining("seen", 3) == 3


class Slotted:
    __slots__ = ("__hidden", "shown")

    def __init__(self) -> None:
        self.__hidden, self.shown = 1, 2


@dataclasses.dataclass(order=True)
class Data:
    x: int = 1

    def __repr__(self) -> str:
        return "own"


class Named(NamedTuple):
    x: int = 1


class Mode(enum.Enum):
    A = 1

    def __call__(self) -> int:
        return 2


def test_slots_are_attributes() -> None:
    assert attributes_of(Slotted()) == {"_Slotted__hidden": 1, "shown": 2}


def test_a_class_is_what_its_user_wrote_and_not_what_python_added() -> None:
    pickle.dumps(Slotted())  # which leaves `__slotnames__` at the class
    assert set(class_members(Slotted)) == {"__slots__", "__init__"}
    assert set(class_members(Data)) == {"x", "__repr__", "__dataclass_fields__"}
    assert set(class_members(Mode)) == {"A", "__call__"}
    assert "__new__" not in class_members(Named)


def test_internals_of_torch_are_no_settings() -> None:
    assert attributes_of(nn.Linear(1, 2)) == {"in_features": 1, "out_features": 2}
