"""What of an object or a class is a setting, and what it only counts or remembers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from enum import Enum
from types import FunctionType
from typing import Any

from torch import nn

from simlearn.components.code import Written, is_framework, written

INTERNALS = frozenset(vars(nn.Module())) | {"_given"}
"""Attributes of every module of torch, and what the constructor was given."""

_ENTRIES = (
    "forward __call__ transform encode extract_meta get_collate_fn get_prompted_collate_fn get_meta_extractor "
    "get_tokens encoder_selection tokenize prepare tile paired"
).split()
"""Methods that run while objects are encoded."""

_CLASS_INTERNALS = frozenset(
    "__module__ __doc__ __dict__ __weakref__ __qualname__ __firstlineno__ __static_attributes__ __annotations__ "
    "__annotate__ __annotate_func__ __annotations_cache__ __orig_bases__ __parameters__ __abstractmethods__ _abc_impl "
    "__match_args__ __dataclass_params__ __hash__ __getstate__ __setstate__".split()
)


def attributes_of(obj: Any) -> dict[str, Any]:
    """The attributes that decide what an object does: not those that its methods count or remember in."""
    cls: Any = type(obj)
    memories = memories_of(cls)
    found = dict(vars(obj)) if hasattr(obj, "__dict__") else {}
    for base in cls.__mro__:
        for name in _slots(base):
            if hasattr(obj, name):
                found.setdefault(name, getattr(obj, name))
    internals = INTERNALS if isinstance(obj, nn.Module) else {"_given"}
    return {
        name: value
        for name, value in found.items()
        if name not in internals
        and not memories.covers(name, value)
        and not isinstance(inspect.getattr_static(cls, name, None), functools.cached_property)
    }


def internal_hooks(module: nn.Module) -> dict[str, Any]:
    """What was registered to run around `forward`."""
    names = ("_forward_pre_hooks", "_forward_hooks")
    return {name: list(getattr(module, name).values()) for name in names if getattr(module, name, None)}


@functools.lru_cache(maxsize=1024)
def memories_of(cls: Any) -> Written:
    """What the methods of a class change while objects are encoded: counters, memories, what is loaded when needed."""
    attributes, containers = set[str](), set[str]()
    waiting, seen = list(_ENTRIES), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for base in cls.__mro__:
            found_here: Any = vars(base).get(name)
            function = inspect.unwrap(getattr(found_here, "__func__", found_here))
            if isinstance(function, FunctionType) and not is_framework(base.__module__):
                found = written(function)
                attributes |= found.attributes
                containers |= found.containers
                waiting += found.methods
    return Written(frozenset(attributes), frozenset(containers))


def class_members(cls: Any) -> dict[str, Any]:
    """What a class itself defines, without what Python adds."""
    if issubclass(cls, Enum):
        members = {name: member.value for name, member in cls.__members__.items()}
        functions = {name: value for name, value in vars(cls).items() if isinstance(value, (FunctionType, property))}
        return {**members, **{name: value for name, value in functions.items() if not name.startswith("_")}}
    memories = memories_of(cls)
    members = {
        name: value
        for name, value in vars(cls).items()
        if name not in _CLASS_INTERNALS and not memories.covers(name, value) and not _is_slot(value)
    }
    if "__dataclass_fields__" in vars(cls):
        members = {name: value for name, value in members.items() if not _is_generated(name, value)}
        members["__dataclass_fields__"] = [
            [
                field.name,
                *(None if one is dataclasses.MISSING else one for one in (field.default, field.default_factory)),
            ]
            for field in dataclasses.fields(cls)
        ]
    if hasattr(cls, "_field_defaults"):  # a named tuple, whose fields say what Python made of them
        members.pop("__new__", None)
    return members


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_slot(value: Any) -> bool:
    return inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value)


def _is_generated(name: str, value: Any) -> bool:
    """Whether the dataclass decorator wrote a method; its fields say the same."""
    is_special = name.startswith("__") and name.endswith("__")
    return is_special and isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"
