"""Arguments come back as they were: equal, and of the same type; or are refused before anything is written."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from enum import Enum, Flag
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from simlearn.components import ClassResolver
from simlearn.components.values import ArgumentReader, ArgumentWriter, as_json, folder_names, parts_named
from simlearn.distances import Distance
from simlearn.files import LoadError, UntrustedError

FILE = Path("servable/config.json")


class Kind(Enum):
    ONE = "one"
    TWO = (1, 2)


class Marks(Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: float
    y: Any


def own(value: Any, factor: int = 1) -> Any:
    return value * factor


RESOLVER = ClassResolver(classes=(Kind, Marks, Point, own))  # type: ignore[arg-type]


def written(value: Any) -> tuple[Any, dict[str, Tensor]]:
    tensors: dict[str, Tensor] = {}
    content = ArgumentWriter(lambda part, name: name, tensors).encode(value, "value")
    return json.loads(json.dumps(content, allow_nan=False)), tensors


def read(content: Any, tensors: dict[str, Tensor] | None = None, resolver: ClassResolver = RESOLVER) -> Any:
    return ArgumentReader({}.__getitem__, tensors or {}, resolver, FILE).decode(content)


def is_same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(is_same, first, second))
    if isinstance(first, dict):
        pairs = zip(first.items(), second.items(), strict=True)
        return len(first) == len(second) and all(is_same(one, other) for one, other in pairs)
    if isinstance(first, (set, frozenset)):
        return sorted(map(repr, first)) == sorted(map(repr, second))
    return bool(first == second) and repr(first) == repr(second)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
KEYS = (
    st.none() | st.booleans() | st.integers() | FINITE | st.text() | st.binary() | st.tuples(st.integers(), st.text())
)
SCALARS = st.sampled_from([np.float32(0.1), np.float16(2), np.int64(-3), np.uint8(7), np.bool_(True)])
LEAVES = (
    KEYS
    | SCALARS
    | st.sampled_from([*Kind, *Distance, Marks.A | Marks.B, torch.bfloat16, Path("/a/../b"), own, torch.relu, nn.ReLU])
    | st.sets(KEYS, max_size=4)
    | st.frozensets(KEYS, max_size=4)
    | arrays.arrays(st.sampled_from(["<f4", "<i8", "|b1", "<u2"]), arrays.array_shapes(min_dims=0, max_dims=3))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Point, FINITE, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_round_trip(value: Any) -> None:
    content, tensors = written(value)
    assert is_same(read(content, tensors), value)
    assert written(value)[0] == content


@pytest.mark.parametrize("value", [{"$part": "x"}, {"$a": 1, "b": {"$set": [1]}}, ["$tuple"], "$part"], ids=str)
def test_what_looks_like_one_of_the_codes(value: Any) -> None:
    assert read(*written(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(2, 3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.tensor(3),
        nn.Parameter(torch.ones(2)),
        torch.ones(4)[::2],
    ],
)
def test_tensors(value: Tensor) -> None:
    found = read(*written(value))
    assert type(found) is type(value) and found.dtype == value.dtype and torch.equal(found, value)
    assert found.requires_grad == value.requires_grad


def test_partials_and_layers() -> None:
    found = read(*written(functools.partial(own, factor=3)))
    assert (found.func, found.args, found.keywords) == (own, (), {"factor": 3})
    layer = nn.Linear(2, 3, bias=False)
    first, second, chain = read(*written([layer, layer, nn.Sequential(layer, nn.Tanh())]))
    assert first is second and chain[0] is first and repr(first) == repr(layer)


@pytest.mark.parametrize(
    ("function", "entry"),
    [
        (torch.relu, ("torch", "relu")),
        (torch.einsum, ("torch", "einsum")),
        (nn.functional.gelu, ("torch.nn.functional", "gelu")),
        (nn.functional.cosine_similarity, ("torch.nn.functional", "cosine_similarity")),
        (math.exp, ("math", "exp")),
        (nn.GELU, ("torch.nn", "GELU")),
        (str.lower, ("builtins", "str.lower")),
        (len, ("builtins", "len")),
    ],
)
def test_what_only_computes_needs_nobodys_trust(function: Callable[..., Any], entry: tuple[str, str]) -> None:
    content, _ = written(function)
    assert content == {"$function": {"module": entry[0], "class": entry[1]}}
    assert read(content, resolver=ClassResolver()) is function


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "value is nan, which JSON does not hold; give a finite number"),
        ([1, {"a": -math.inf}], "value/1/a is -inf"),
        (lambda: 1, r"value is the function .*<lambda>, which has no name"),
        (functools.partial(lambda: 1), r"value/function is the function .*<lambda>"),
        (np.array(["a"]), "value is an array of <U1, which safetensors does not hold"),
        (np.array([None]), "value is an array of object"),
        (np.ma.array([1], mask=[True]), "value is an array"),
        (np.array([1j]), "complex128, which safetensors does not hold; use complex64"),
        (torch.eye(2).to_sparse(), "as a sparse tensor, .*make it dense"),
        (torch.empty(2, device="meta"), "on the meta device, where it has no numbers"),
        ("abc".upper, "no name to find it again by"),
    ],
)
def test_what_no_file_holds(value: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        written(value)


HOSTILE = [
    {"$evil": 1},
    {"$function": {"module": "os", "class": "system"}},
    {"$function": {"module": "torch", "class": "load"}},
    {"$function": {"module": "torch", "class": "save"}},
    {"$function": {"module": "torch", "class": "from_file"}},
    {"$function": {"module": "torch", "class": "hub.load"}},
    {"$function": {"module": "torch", "class": "zeros"}},
    {"$function": {"module": "torch.nn", "class": "Module"}},
    {"$function": {"module": "torch.nn.functional", "class": "handle_torch_function"}},
    {"$function": {"module": "torch.nn.functional", "class": "torch"}},
    {"$function": {"module": "math", "class": "__loader__"}},
    {"$function": {"module": "builtins", "class": "eval"}},
    {"$function": {"module": "builtins", "class": "str.__class__"}},
    {"$function": {"module": "simlearn.files", "class": "remove_folder"}},
    {"$function": ["os", "system"]},
    {"$function": None},
    {"$partial": [{"$function": {"module": "os", "class": "system"}}, ["true"], {}]},
    {"$partial": ["text", [], {}]},
    {"$partial": [{"$function": {"module": "torch", "class": "relu"}}, 3, {}]},
    {"$partial": []},
    {"$scalar": ["<f8", 10**400]},
    {"$scalar": ["<f8", [1, 2]]},
    {"$scalar": ["|O", 1]},
    {"$scalar": ["<U5", "a"]},
    {"$scalar": 5},
    {"$set": [[1]]},
    {"$set": None},
    {"$frozenset": [{"a": 1}]},
    {"$tuple": 7},
    {"$dict": [[[1], 2]]},
    {"$dict": [1]},
    {"$bytes": "!!!"},
    {"$bytes": ["a"]},
    {"$array": "missing"},
    {"$array": ["value"]},
    {"$tensor": None},
    {"$parameter": {}},
    {"$dtype": "load"},
    {"$dtype": ["float32"]},
    {"$part": "missing"},
    {"$part": ["a"]},
    {"$layer": -1},
    {"$layer": 3},
    {"$layer": True},
    {"$layer": "Linear"},
    {"$layer": {"layer": "os.system", "settings": {}}},
    {"$layer": {"layer": "Linear", "settings": {"in_features": "a", "out_features": 1}}},
    {"$layer": {"layer": "Linear", "settings": {"device": "cuda"}}},
    {"$layer": {"layer": "Dropout", "settings": {"p": 7}}},
    {"$layers": [1]},
    {"$tuple": [{"$layer": {"layer": "ReLU", "settings": {}}}] * 10_001},
    {"$member": [{"module": "enum", "class": "Enum"}, 1]},
    {"$member": [{"module": __name__, "class": "Kind"}, "three"]},
    {"$member": [{"module": __name__, "class": "Point"}, 1]},
    {"$member": "Kind"},
    {"$named": [{"module": "collections", "class": "namedtuple"}, ["a", "b"]]},
    {"$named": [{"module": __name__, "class": "Point"}, [1]]},
    {"$named": [{"module": __name__, "class": "Kind"}, ["one"]]},
]


@pytest.mark.parametrize("content", HOSTILE, ids=lambda content: str(content)[:60])
def test_what_is_never_written_is_an_error_of_the_file(content: Any) -> None:
    with pytest.raises(LoadError, match=re.escape(str(FILE))):
        read({"a": [content]}, {"value": torch.ones(2)})


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | FINITE | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    "a $tuple $set $dict $bytes $path $dtype $scalar $array $layer $layers $part $function $partial"
                    " $member $named $frozenset $tensor $parameter".split()
                ),
                inner,
                max_size=2,
            )
        ),
        max_leaves=8,
    )
)
def test_whatever_stands_there_is_read_or_a_load_error(content: Any) -> None:
    try:
        read(content)
    except LoadError as error:
        assert str(FILE) in str(error)


def test_a_class_that_is_trusted_is_no_function_of_its_module() -> None:
    with pytest.raises(UntrustedError):
        read({"$function": {"module": __name__, "class": "json.loads"}}, resolver=ClassResolver((), (__name__,)))


def test_configs_as_they_come_back() -> None:
    assert as_json({"a": (1, (2.5, "x")), "b": Distance.COSINE}) == {"a": [1, [2.5, "x"]], "b": "cosine"}
    layer = nn.ReLU()
    assert as_json({"a": [layer]})["a"][0] is layer
    with pytest.raises(TypeError, match="1 is a key, which JSON would make a text"):
        as_json({"a": {1: 2}})
    with pytest.raises(TypeError):
        as_json({"a": {1, 2}})


def test_names_of_folders_and_parts() -> None:
    assert folder_names(["a", "b-c", "D_1"]) == {"a": "a", "b-c": "b-c", "D_1": "D_1"}
    assert folder_names(["a", "A"]) == {"a": "0", "A": "1"}
    assert folder_names(["../a", "ä"]) == {"../a": "0", "ä": "1"}
    assert parts_named({"a": [{"$part": "x"}, {"$tuple": [{"$part": "y"}]}], "b": {"$part": 3}}) == ["x", "y"]
