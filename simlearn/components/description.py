"""Components as JSON for people: their class and arguments, and simlearn's own from that."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeVar

import numpy as np

from simlearn.components.resolver import own_class
from simlearn.components.torch_layers import SETTINGS, describe

_Class = TypeVar("_Class")


def described(value: Any) -> Any:
    """An argument as JSON, for people: components as their class and arguments.

    Raises:
        TypeError: for what has no description.
    """
    if hasattr(value, "get_config_dict"):
        return {"type": type(value).__name__, **value.get_config_dict()}
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(described, value), key=repr)
    if type(value) in SETTINGS:
        return describe(value)
    if isinstance(value, Enum):
        return described(value.value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, functools.partial):
        return {
            "type": "partial",
            "function": described(value.func),
            "arguments": described([value.args, value.keywords]),
        }
    if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    return value if value is None or isinstance(value, (bool, int, float, str)) else _ADDRESS.sub("", repr(value))[:200]


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where in memory an object lies, which another one with the same arguments does not."""


def from_description(given: Any, base: type[_Class], what: str) -> _Class:
    """The object itself, or one of simlearn's from what `described` made of it.

    Args:
        given: the object, or its description.
        base: what it must be.
        what: what to call it in errors.

    Raises:
        ValueError: for a description of a class that is not simlearn's; make that object and pass it.
        TypeError: for anything else.
    """
    if isinstance(given, base):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"expected a {what}, or the config of one, got {type(given).__name__}")
    arguments = dict(given)
    name = arguments.pop("type", None)
    cls = own_class(name, base)
    if cls is None:
        raise ValueError(f"{name!r} is no {what} of simlearn, so no config makes it; pass the {what} itself")
    return cls(**arguments)
