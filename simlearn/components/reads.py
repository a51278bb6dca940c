"""What the code of a function refers to: globals of its module, of modules that it imports, and the environment."""

from __future__ import annotations

import dis
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from simlearn.components.code import home_of, is_library
from simlearn.components.memories import GONE, written

_READ = ("LOAD_ATTR", "LOAD_METHOD")
_Instructions = list[dis.Instruction]


class Reference(NamedTuple):
    """Something outside that code reads.

    Args:
        name: with the attributes that are read of a module, as `settings.SCALE`.
        value: what it is now.
    """

    name: str
    value: Any


def references(function: FunctionType) -> Iterator[Reference]:
    """What a function's code reads from outside, by name; what it counts and remembers there decides nothing."""
    changed = written(function).names
    seen: dict[str, Any] = {}
    for name, value in _loads(function.__code__, function.__globals__):
        left = changed.remaining(name, value)
        if left is not GONE and tuple(name.split(".")) not in changed.entries:
            seen.setdefault(name, left)
    yield from (Reference(name, seen[name]) for name in sorted(seen))


def contents(space: dict[str, Any]) -> dict[str, Any]:
    """What a module holds, without what its functions count and remember there."""
    found = {name: value for name, value in space.items() if not (name.startswith("__") and name.endswith("__"))}
    own = [one for one in found.values() if isinstance(one, FunctionType) and one.__globals__ is space]
    for function in own:
        changed = written(function).names
        left = {name: changed.remaining(name, value) for name, value in found.items()}
        found = {name: value for name, value in left.items() if value is not GONE}
    return found


def _loads(code: CodeType, space: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What code and the functions within it read, with the attributes read of modules among them."""
    steps = [one for one in dis.get_instructions(code) if one.opname not in ("CACHE", "EXTENDED_ARG")]
    for place, step in enumerate(steps):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if step.argval in space:
                yield from _followed(str(step.argval), space[step.argval], steps[place + 1 :], code)
            elif step.argval == "globals":
                yield "globals()", contents(space)
        elif step.opname == "IMPORT_NAME":
            yield from _imported(steps, place, space, code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _loads(constant, space)


def _followed(name: str, value: Any, after: _Instructions, code: CodeType) -> Iterator[tuple[str, Any]]:
    """A value, or of a module the attributes that are read of it."""
    for step in after:
        if not isinstance(value, ModuleType) or step.opname not in _READ or not hasattr(value, step.argval):
            break
        name, inner = f"{name}.{step.argval}", getattr(value, step.argval)
        if is_library(value.__name__) and not _is_users(inner, value.__name__) and not isinstance(inner, ModuleType):
            yield name, _environment(code) if _is_environment(inner) else ("library", value.__name__, step.argval)
            return
        value = inner
    yield name, _environment(code) if _is_environment(value) else value


def _is_users(value: Any, name: str) -> bool:
    """Whether somebody has put into a library what is not the library's, or may have chosen: code, or a number."""
    function = value.__func__ if isinstance(value, MethodType) else value
    if isinstance(function, FunctionType):
        return not is_library(home_of(function))
    if isinstance(function, type):
        return not is_library(str(function.__module__))
    # Those of Python itself say which machine this is.
    return type(value) in (bool, int, float) and name.partition(".")[0] not in sys.stdlib_module_names


def _is_environment(value: Any) -> bool:
    return value is os.environ or value is os.getenv


def _environment(code: CodeType) -> Any:
    """The variables that code names; the others are not its business, and change from shell to shell."""
    texts = [one for one in code.co_consts if isinstance(one, str)]
    return {name: os.environ[name] for name in sorted(set(texts)) if name and "\0" not in name and name in os.environ}


def _imported(steps: _Instructions, place: int, space: dict[str, Any], code: CodeType) -> Iterator[tuple[str, Any]]:
    """What `import` within a function means; it is imported now if that has not been done, as encoding would."""
    called, level, names = steps[place].argval, steps[place - 2].argval, steps[place - 1].argval
    package = space.get("__package__") or str(space.get("__name__")).rpartition(".")[0]
    try:
        full = importlib.util.resolve_name("." * level + called, package) if level else called
        if is_library(full):
            yield f"import {called}", ("library", full)
            return
        module = importlib.import_module(full)
        if names:
            for name in names:
                value = getattr(module, name) if hasattr(module, name) else importlib.import_module(f"{full}.{name}")
                yield f"from {called} import {name}", value
            return
    except ImportError:  # which the code is prepared for, or fails of
        yield f"import {called}", None
        return
    stored = next((one for one in steps[place + 1 :] if one.opname.startswith("STORE_")), None)
    is_top = steps[place + 1].opname.startswith("STORE_")
    bound = sys.modules[full.partition(".")[0]] if is_top else module
    reads = [at for at, one in enumerate(steps) if stored is not None and _loads_name(one, stored.argval)]
    if stored is None or not all(steps[at + 1].opname in _READ and steps[at].argval == stored.argval for at in reads):
        yield f"import {called}", module
        return
    for at in reads:
        yield from _followed(f"import {called}", bound, steps[at + 1 :], code)


def _loads_name(step: dis.Instruction, name: Any) -> bool:
    is_load = step.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE", "STORE_FAST_LOAD_FAST"))
    return is_load and name in (step.argval if isinstance(step.argval, tuple) else (step.argval,))
