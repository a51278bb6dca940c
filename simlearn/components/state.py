"""What of an object or a class is a setting, and what it only counts or remembers."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator
from enum import Enum
from types import FunctionType
from typing import Any

from torch import nn

from simlearn.components.arguments import arguments_of, is_plain
from simlearn.components.code import home_of, is_framework, is_library
from simlearn.components.memories import GONE, Changes, Written, written

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
    "__match_args__ __dataclass_params__ __hash__ __getstate__ __setstate__ __type_params__ __classdictcell__ "
    "__slotnames__ "
    "_is_protocol _is_runtime_protocol __protocol_attrs__ __non_callable_proto_members__ __subclasshook__".split()
)

_OF_THIS_PROCESS = frozenset(["_stop_words_id"])
"""Attributes of scikit-learn's vectorizers that hold the address of another one."""


def attributes_of(obj: Any, called: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The attributes that decide what an object does: not those that its methods count or remember in.

    What the constructor was given is told besides where methods change some: it may have decided what they fill.

    Args:
        obj: any object.
        called: names of methods that run while objects are encoded, besides those of encoders.
    """
    cls: Any = type(obj)
    memories = memories_of(cls, called)
    found = {**slots_of(obj), **getattr(obj, "__dict__", {})}
    internals = INTERNALS if isinstance(obj, nn.Module) else {"_given"}
    told, has_memory = {}, False
    for name, value in found.items():
        if name in internals or name in _OF_THIS_PROCESS:
            continue
        if is_cached(obj, name):
            continue
        left = memories.remaining(name, value)
        has_memory |= left is not value
        if left is not GONE:
            told[name] = left
    if has_memory and "_given" in found:
        held = {id(value) for value in (*told.values(), *found.get("_modules", {}).values())}
        # As given: what encoding itself has put in their places since must not make another encoder of it.
        arguments = arguments_of(obj).given
        told |= {f"given {name}": one for name, one in arguments.items() if is_plain(one) or id(one) not in held}
    return told


def is_cached(obj: Any, name: str) -> bool:
    """Whether an attribute holds what a property of its name computed."""
    return isinstance(inspect.getattr_static(type(obj), name, None), functools.cached_property)


def shadowing(obj: Any) -> dict[str, Any]:
    """The attributes that stand in the place of methods: somebody has put something else there."""
    return {name: value for name, value in vars(obj).items() if callable(getattr(type(obj), name, None))}


def internal_hooks(module: nn.Module) -> dict[str, Any]:
    """What was registered to run around `forward`."""
    names = ("_forward_pre_hooks", "_forward_hooks")
    return {name: list(getattr(module, name).values()) for name in names if getattr(module, name, None)}


def memories_of(cls: Any, called: frozenset[str] = frozenset()) -> Changes:
    """What the methods of a class change while objects are encoded: counters, memories, what is loaded when needed."""
    changes = Changes()
    for base, found in _running(cls, called):
        changes = changes.joined(found.attributes.renamed(base.__name__))
    return changes


def calls_of(cls: Any) -> frozenset[str]:
    """The names of the methods, of whatever object, that the methods of a class call while objects are encoded."""
    return frozenset(name for _, found in _running(cls, frozenset()) for name in found.calls)


def _running(cls: Any, called: frozenset[str]) -> Iterator[tuple[Any, Written]]:
    """The methods of a class that run while objects are encoded."""
    waiting, seen = [*_ENTRIES, *called], {"__init__", "__new__", "__post_init__"}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for base in cls.__mro__:
            member = vars(base).get(name)
            if member is None or is_framework(base.__module__):
                continue
            for function in functions_in(member):
                found = written(function, is_method=not isinstance(member, staticmethod))
                waiting += found.reads
                yield base, found


def functions_in(member: Any) -> Iterator[FunctionType]:
    """The functions in a method, property or the like, without what decorators put around them."""
    for one in (member, *(getattr(member, name, None) for name in ("__func__", "func", "fget", "fset"))):
        function = inspect.unwrap(one) if callable(one) and not isinstance(one, type) else one
        if isinstance(function, FunctionType):
            yield function


def class_members(cls: Any) -> dict[str, Any]:
    """What a class itself defines, without what Python adds."""
    if issubclass(cls, Enum):
        members = {name: member.value for name, member in cls.__members__.items()}
        return {**members, **{name: value for name, value in vars(cls).items() if _is_own_code(value)}}
    memories = memories_of(cls)
    left = {
        name: memories.remaining(name, value)
        for name, value in vars(cls).items()
        if name not in _CLASS_INTERNALS and not _is_slot(value) and not _is_pydantics(name)
    }
    members = {name: value for name, value in left.items() if value is not GONE and not _is_generated(name, value)}
    if "__dataclass_fields__" in vars(cls):
        params = cls.__dataclass_params__
        members["__dataclass_fields__"] = [params.init, params.eq, params.order, params.frozen]
        members["__dataclass_fields__"] += map(_field, dataclasses.fields(cls))
    if hasattr(cls, "_field_defaults"):  # a named tuple, whose fields say what Python made of them
        members.pop("__new__", None)
    if any("__doc__" in function.__code__.co_names for one in members.values() for function in functions_in(one)):
        members["__doc__"] = cls.__doc__
    return members


def _field(field: Any) -> list[Any]:
    defaults = [None if one is dataclasses.MISSING else one for one in (field.default, field.default_factory)]
    return [field.name, *defaults, field.init, field.compare]


def slots_of(obj: Any) -> dict[str, Any]:
    """The attributes that an object keeps in slots, by name."""
    found: dict[str, Any] = {}
    for base in type(obj).__mro__:
        if "__slots__" in vars(base):
            for name, member in vars(base).items():
                if inspect.ismemberdescriptor(member) and hasattr(obj, name):
                    found.setdefault(name, getattr(obj, name))
    return found


def _is_slot(value: Any) -> bool:
    return inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value)


def _is_pydantics(name: str) -> bool:
    """Whether pydantic has compiled it from a class's fields, which say the same."""
    return name == "__signature__" or (name.startswith("__pydantic_") and name != "__pydantic_fields__")


def _is_own_code(value: Any) -> bool:
    """Whether a member of an enumeration is a method of its own, and none that Python copies there."""
    return any(not is_library(home_of(function)) for function in functions_in(value))


def _is_generated(name: str, value: Any) -> bool:
    """Whether Python wrote a method, for a dataclass, whose fields say the same, or for `copy.replace`."""
    if name == "__replace__":
        return not _is_own_code(value)
    code = getattr(inspect.unwrap(value), "__code__", None) if isinstance(value, FunctionType) else None
    if code is None or not (name.startswith("__") and name.endswith("__")):
        return False
    # Python 3.10 does not know in which function another one was made.
    made_in = getattr(code, "co_qualname", "__create_fn__" if code.co_filename == "<string>" else "")
    return str(made_in).startswith("__create_fn__") or home_of(value) in ("dataclasses", "reprlib")
