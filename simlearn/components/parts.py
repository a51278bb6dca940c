"""What functions, classes and objects are made of, as far as it decides what they do."""

from __future__ import annotations

import copyreg
import dataclasses
import functools
import os
import re
import sys
import types
import weakref
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

from simlearn.components import hugging_face
from simlearn.components.code import code_of, home_of, is_library
from simlearn.components.memories import GONE, Changes, written
from simlearn.components.reads import references
from simlearn.components.state import attributes_of, class_members, slots_of
from simlearn.components.tensors import BY_NAME, array_parts
from simlearn.hashing import content_key

PLAIN = frozenset((type(None), bool, int, float, str, bytes))
"""Classes of values that are told by `content_key`."""

_SILENT = frozenset("logging threading _thread concurrent multiprocessing tqdm".split())
"""Packages whose objects decide nothing of what an encoder says."""

_HOLDS_VALUES = ("Synchronized", "Shared", "Shareable", "Future", "Dict", "List", "Value", "Array", "Namespace")
"""How the names of those classes of these packages begin that hold values all the same."""

_NAMES = frozenset("__module__ __doc__ __name__ __qualname__ __annotations__ __type_params__".split())
"""Attributes of functions that say where they stand, and not what they do."""

WRAPPERS = (staticmethod, classmethod, functools.cached_property, property)
PARTIALS = (functools.partial, functools.partialmethod)
CONTAINERS = (list, tuple, dict, set, frozenset, types.MappingProxyType)
BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    np.ufunc,
)


class Inner(NamedTuple):
    """A part that is an object, to be told itself."""

    value: Any


class Named(NamedTuple):
    """Parts that are objects, by name; in the order of a sequence, or of the names of a mapping."""

    pairs: Any


class Unordered(NamedTuple):
    """Parts that are objects, in no order."""

    values: Any


class RefusedError(TypeError):
    """Nothing can be told of an object; says what it is and what to do."""

    def __init__(self, value: Any, why: object) -> None:
        super().__init__(
            f"is a {type(value).__module__}.{type(value).__qualname__}, of which nothing can be told ({why}); keep what"
            " was read of it, such as text, numbers or arrays, and not the thing itself"
        )


def function_parts(function: FunctionType, *, by_name: bool) -> Iterator[Any]:
    """The code of a function, or its name, and what it refers to."""
    code, changed = function.__code__, written(function).names
    if by_name:
        yield from ("function", home_of(function), code.co_name)
        yield code_of(function) if code.co_name == "<lambda>" else ""
    else:
        yield from ("code", code_of(function))
        given = function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
        defaults = dict(zip(names, given, strict=True)) | (function.__kwdefaults__ or {})
        yield Named(_remaining(changed, defaults))
        yield Named(list(references(function)))
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    yield Named(_remaining(changed, {name: _content(cell) for name, cell in cells if name != "__class__"}))
    counted = {key for owner, key in changed.entries | changed.filled_entries if owner == function.__name__}
    yield Named({name: value for name, value in vars(function).items() if name not in counted | _NAMES})


def class_parts(cls: type) -> Iterator[Any]:
    """What a class is that is nobody's library."""
    yield from ("class of its own", cls.__name__, Named(class_members(cls)))
    yield from map(Inner, cls.__bases__)
    if type(cls) is not type:
        yield Inner(type(cls))


def is_found(cls: type) -> bool:
    """Whether a class is where its name says, and none that a function of the library has made for a user."""
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls or not any(isinstance(one, FunctionType) for one in vars(cls).values())


def wrapper_parts(value: Any) -> Iterator[Any]:
    """A method as a class holds it, or a function with some of its arguments."""
    yield type(value).__name__
    names = ("func", "args", "keywords") if isinstance(value, PARTIALS) else ("__func__", "func", "fget", "fset")
    yield from (Inner(getattr(value, name, None)) for name in names)


def built_in_parts(value: Any) -> Iterator[Any]:
    """A method, or a function without Python code: its name, and whose it is.

    Raises:
        RefusedError: for one that a user has compiled.
    """
    owner, module = getattr(value, "__self__", None), getattr(value, "__module__", None)
    # What a module offers as a function, as `random.random`, has the state of the process.
    home = sys.modules.get(str(type(owner).__module__))
    offered = getattr(home, _name(value), None) if home is not None and is_library(home.__name__) else None
    is_offered = isinstance(offered, BUILT_IN) and bool(offered == value)
    if isinstance(value, types.MethodType) and not is_offered:
        yield from ("method", Inner(value.__func__), Inner(owner))
        return
    places = [sys.modules.get(name) for name in ("numpy", "scipy.special")]
    if isinstance(value, np.ufunc) and not any(getattr(place, _name(value), None) is value for place in places):
        raise RefusedError(value, "it is no function of numpy or scipy")
    if module is not None and not is_library(module):
        raise RefusedError(value, f"it is compiled, in the module {module}")
    yield from ("built in", f"{module} {getattr(value, '__qualname__', value)}")
    is_place = isinstance(owner, ModuleType) or type(owner).__name__.startswith(("PyCapsule", "pybind11_"))
    yield Inner(None if is_place or is_offered else owner)


def container_parts(value: Any, called: frozenset[str]) -> Iterator[Any]:
    """What a list, tuple, dictionary or set holds, and what a class of a user's adds."""
    kind = next(kind for kind in (list, tuple, frozenset, set, object) if isinstance(value, kind))
    yield from ("container", kind.__name__, len(value))
    if type(value) not in CONTAINERS:
        yield from (Inner(type(value)), Named(attributes_of(value, called)))
        yield Inner(getattr(value, "default_factory", None))
    if kind in (set, frozenset):
        yield Unordered(value)
        return
    items = list(value.items() if kind is object else enumerate(value))
    if all(type(place) in PLAIN and type(item) in PLAIN for place, item in items):  # as large vocabularies
        yield content_key(items)
        return
    for place, item in items:
        yield from (Inner(place), Named([(str(place), item)]))


def object_parts(value: Any, called: frozenset[str]) -> Iterator[Any]:
    """An object of any other kind: its class, and what pickle would store of it.

    Raises:
        RefusedError: for one of which nothing can be told.
    """
    package, name = str(type(value).__module__).partition(".")[0], type(value).__qualname__
    if isinstance(value, Enum):
        yield from ("member", Inner(value.value), Inner(type(value)))
        yield Named({name: one for name, one in vars(value).items() if not name.startswith("_")})
    elif (settings := hugging_face.settings_text(value)) is not None:
        yield from ("settings", Inner(type(value)), settings)
    elif isinstance(value, BY_NAME):
        yield from (name, str(value))
    elif isinstance(value, torch.device) or value is os.environ or value is torch.default_generator:
        yield from ("of this machine", name)
    elif package in _SILENT and not type(value).__name__.startswith(_HOLDS_VALUES):
        yield from ("silent", name)
    elif isinstance(value, weakref.ref):
        yield from ("weak", Inner(value()))
    elif package == "weakref":
        yield from ("silent", name)  # containers of what others hold
    elif isinstance(value, torch.ScriptFunction):
        yield from ("script", str(value.code))
    elif isinstance(value, torch.ScriptObject) and name.endswith("PackedParamsBase"):
        yield from ("silent", name)  # whose tensors the module keeps in its state
    elif isinstance(value, torch.Generator):
        yield from ("generator", Inner(value.get_state()))
    elif isinstance(value, re.Pattern):
        yield from ("pattern", Inner(value.pattern), int(value.flags))
    elif type(value) in (np.ndarray, np.memmap) and value.dtype.hasobject:
        yield from ("array", str(value.dtype), Inner([value.shape, value.ravel().tolist()]))
    elif type(value) in (np.ndarray, np.memmap):
        yield from ("array", *array_parts(value))
    elif isinstance(value, (np.generic, np.ndarray, PurePath)) or package in ("PIL", "datetime", "uuid"):
        try:
            yield from ("value", content_key(value))
        except (TypeError, ValueError) as error:
            raise RefusedError(value, error) from None
    elif dataclasses.is_dataclass(value):
        yield from ("object", Inner(type(value)), Named(attributes_of(value, called)))
    else:
        yield from _reduced_parts(value, called)


def _reduced_parts(value: Any, called: frozenset[str]) -> Iterator[Any]:
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:  # a reduction may raise anything, as pickle's users know
        raise RefusedError(value, error) from None
    own = getattr(value, "__dict__", {})
    if isinstance(reduced, str):
        module = str(getattr(value, "__module__", None) or type(value).__module__)
        is_named = is_library(module) or type(value).__module__ == "typing"
        if not is_named and is_library(type(value).__module__) and "__wrapped__" not in own:
            raise RefusedError(value, f"it is compiled, in the module {module}")
        yield from ("global", reduced, module if is_library(module) else "", Inner(type(value)))
        yield Named({name: one for name, one in own.items() if name not in _NAMES})
        return
    make, arguments, *rest = reduced
    yield from ("object", Inner(make), Inner(arguments))
    state, *items = (*rest, None, None, None)[:3]
    stored = _stored(state)
    if stored is None:
        yield Inner(state)
    else:  # as they are, but for what its methods count and remember
        told, kept = attributes_of(value, called), {**own, **slots_of(value)}
        same = {name for name, one in stored.items() if name in kept and kept[name] is one}
        yield Named(
            {name: told[name] if name in same else stored[name] for name in stored.keys() - (same - told.keys())}
        )
    yield from (Inner(list(more)) for more in items if more is not None)


def _name(value: Any) -> str:
    return str(getattr(value, "__name__", ""))


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _remaining(changed: Changes, values: Mapping[str, Any]) -> dict[str, Any]:
    left = {name: changed.remaining(name, value) for name, value in values.items()}
    return {name: value for name, value in left.items() if value is not GONE}


def _stored(state: Any) -> dict[str, Any] | None:
    """The attributes that a state holds, those of slots among them; None for another kind of state."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if state is None or not all(part is None or isinstance(part, Mapping) for part in parts):
        return None
    return {str(name): value for part in parts for name, value in (part or {}).items()}
