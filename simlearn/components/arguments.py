"""The arguments with which an object was, or would be, constructed.

They are read from the signature: an attribute of the argument's name (with or without an underscore before it) says
what it is now, as scikit-learn and skorch have it; where there is none, what the constructor was given.
"""

from __future__ import annotations

import copy
import inspect
import numbers
import pickle
from collections.abc import Mapping
from enum import Enum
from inspect import Parameter
from pathlib import PurePath
from types import FunctionType, MethodType
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from simlearn.components.code import is_framework

_MISSING: Any = object()


class Given:
    """What a constructor was called with.

    It never stands in the way of a copy or a pickle of its component: what cannot be copied (a generator, a lambda
    among the arguments that the component does not keep) is forgotten there, and attributes have to tell.

    Args:
        args: by place.
        kwargs: by name.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs

    def __deepcopy__(self, memo: dict[int, Any]) -> Given | None:
        try:
            return Given(copy.deepcopy(self.args, memo), copy.deepcopy(self.kwargs, memo))
        except Exception:  # a copy may raise anything
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        is_whole = all(map(_has_pickle, (*self.args, *self.kwargs.values())))
        return (Given, (self.args, self.kwargs)) if is_whole else (type(None), ())


class Arguments(NamedTuple):
    """Arguments by the names of their parameters.

    Args:
        held: as the object's attributes say now, else as given.
        given: as the constructor got them.
        missing: those that neither tells.
    """

    held: dict[str, Any]
    given: dict[str, Any]
    missing: tuple[str, ...]


def arguments_of(obj: Any) -> Arguments:
    """The arguments of an object's constructor.

    A parameter `*names` stands as a tuple under its name; what `**names` took stands under names of its own. Arguments
    that are None by default and still None are left out. Classes of simlearn take names for members of enumerations,
    and are told by those.

    Raises:
        TypeError: when what was given cannot be told from the names.
    """
    parameters = parameters_of(type(obj))
    told = _by_name(parameters, getattr(obj, "__dict__", {}).get("_given"), type(obj).__qualname__)
    given = {} if told is None else told
    kept = obj.kept_arguments() if hasattr(obj, "kept_arguments") else {}
    held, missing = dict(given), []
    for name, parameter in parameters.items():
        default = () if parameter.kind is Parameter.VAR_POSITIONAL else parameter.default
        if parameter.kind is Parameter.VAR_KEYWORD:
            continue
        if told is not None and name not in given:
            given[name] = held[name] = default
        value = _attribute(obj, name)
        if name in kept:
            held[name] = kept[name]
        elif value is not _MISSING and (name not in given or _alike(value, given[name])):
            held[name] = value
        elif name not in given:
            missing.append(name)
    for extra in given.keys() - parameters.keys():
        if extra in kept:
            held[extra] = kept[extra]
        elif _alike(value := _attribute(obj, extra), given[extra]):
            held[extra] = value
    if is_framework(type(obj).__module__):
        held, given = _names(held), _names(given)
    return Arguments(_without_none(held, parameters), _without_none(given, parameters), tuple(missing))


def construct(cls: type, arguments: Mapping[str, Any]) -> Any:
    """Call a class with arguments by the names of its parameters; the inverse of `arguments_of`.

    Raises:
        TypeError: when the class does not take them.
    """
    left = dict(arguments)
    positional: list[Any] = []
    parameters = parameters_of(cls)
    takes_any_number = any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters.values())
    for name, parameter in parameters.items():
        before = takes_any_number and parameter.kind is Parameter.POSITIONAL_OR_KEYWORD
        if name not in left:
            if parameter.kind is Parameter.POSITIONAL_ONLY or before:
                if parameter.default is Parameter.empty:
                    raise TypeError(f"it lacks the argument {name!r}")
                positional.append(parameter.default)
        elif parameter.kind is Parameter.POSITIONAL_ONLY or before:
            positional.append(left.pop(name))
        elif parameter.kind is Parameter.VAR_POSITIONAL:
            positional.extend(left.pop(name))
    return cls(*positional, **left)


def parameters_of(cls: type) -> dict[str, Parameter]:
    """The parameters of a class's constructor, by name.

    Raises:
        TypeError: for a class that tells none, such as a compiled one.
    """
    try:
        own = cls.__init__ if cls.__init__ is not object.__init__ else cls  # type: ignore[misc]
        parameters = list(inspect.signature(own).parameters.values())
    except ValueError:
        raise TypeError(f"{cls.__qualname__} does not tell what its constructor takes") from None
    return {parameter.name: parameter for parameter in (parameters[1:] if own is not cls else parameters)}


def is_plain(value: Any) -> bool:
    """Whether a value is a number, text, None or an enumeration's, or lists and dictionaries of those."""
    if value is None or isinstance(value, (str, bytes, numbers.Number, np.generic, Enum, PurePath)):
        return True
    if isinstance(value, Mapping):
        return all(is_plain(item) for pair in value.items() for item in pair)
    return isinstance(value, (list, tuple, set, frozenset)) and all(map(is_plain, value))


def _by_name(parameters: Mapping[str, Parameter], given: Given | None, name: str) -> dict[str, Any] | None:
    if given is None:
        return None
    signature = inspect.Signature(list(parameters.values()))
    try:
        bound = dict(signature.bind(*given.args, **given.kwargs).arguments)
    except TypeError:  # a `__new__` of its own passes on something else than it got: attributes have to tell
        return None
    for parameter in parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            extra = bound.pop(parameter.name, {})
            if clash := sorted(extra.keys() & parameters.keys()):
                raise TypeError(f"{name} was given {clash} among its **{parameter.name}, names of its own parameters")
            bound |= extra
    return bound


def _attribute(obj: Any, name: str) -> Any:
    own = getattr(obj, "__dict__", {})
    for key in (name, f"_{name}"):
        if key in own:
            return own[key]
        for kind in ("_parameters", "_buffers", "_modules"):
            if isinstance(obj, nn.Module) and key in own.get(kind, {}):
                return own[kind][key]
    slot = inspect.getattr_static(type(obj), name, None)
    return getattr(obj, name, _MISSING) if inspect.ismemberdescriptor(slot) else _MISSING


def _alike(value: Any, given: Any) -> bool:
    """Whether an attribute may hold an argument: `dropout` may also be the layer that was made of a number."""
    if value is _MISSING or value is given:
        return value is given
    if isinstance(value, Tensor):
        return isinstance(given, Tensor)
    if is_plain(value):
        return is_plain(given) and (value is None or given is None or _kind(value) is _kind(given))
    if hasattr(value, "fingerprint_parts"):
        return hasattr(given, "fingerprint_parts")
    return type(value) is type(given) and not isinstance(value, (FunctionType, MethodType, type))


def _has_pickle(value: Any) -> bool:
    """Whether a value can be pickled; modules, components and arrays are not tried, which are large."""
    if is_plain(value) or isinstance(value, (nn.Module, Tensor, np.ndarray)) or hasattr(value, "fingerprint_parts"):
        return True
    if isinstance(value, (list, tuple, Mapping)):
        return all(map(_has_pickle, value.values() if isinstance(value, Mapping) else value))
    try:
        pickle.dumps(value)
    except Exception:  # nor does it say what it raises
        return False
    return True


def _kind(value: Any) -> type:
    for kind in (bool, numbers.Number, str, Mapping):
        if isinstance(value, kind):
            return kind
    return list if isinstance(value, (list, tuple, set, frozenset)) else type(value)


def _names(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.value if isinstance(value, Enum) else value for name, value in arguments.items()}


def _without_none(arguments: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """In the order of the signature, however they were passed."""
    order = {name: place for place, name in enumerate(parameters)}
    names = sorted(arguments, key=lambda name: (order.get(name, len(order)), name))
    empty = {name for name, parameter in parameters.items() if parameter.default is None}
    return {name: arguments[name] for name in names if arguments[name] is not None or name not in empty}
