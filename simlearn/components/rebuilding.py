"""Would the constructor make the same object of these arguments? Asked before anything is saved.

Whatever is said of an object by its arguments alone is lost where an argument was kept as something else, where an
attribute was set afterwards, or where a subclass forgot one. So it is made again, without memory where that works, and
both are compared by all that decides what they do, but for the tensors of their state, which are saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from simlearn.components.arguments import construct, is_plain
from simlearn.components.hugging_face import module_text
from simlearn.components.state import INTERNALS, attributes_of, internal_hooks, is_cached
from simlearn.components.telling import CannotTellError, Teller
from simlearn.components.untouched import copied, untouched


class Difference(NamedTuple):
    """What the object has and the one that was made again has not.

    Args:
        owner: the module within it; empty for the object itself.
        name: the attribute.
        value: what it is.
        why: in words.
        is_plain: whether the object has it, and it is a number, text, or a collection of those.
        is_unknown: whether nothing can be told of it, so that it may be the same.
    """

    owner: str
    name: str
    value: Any
    why: str
    is_plain: bool = False
    is_unknown: bool = False


def differences(obj: Any, arguments: Mapping[str, Any], *, quickly: bool = False) -> list[Difference]:
    """What would be lost if an object were known by some arguments alone.

    Args:
        obj: the object.
        arguments: of its constructor.
        quickly: do not take memory to find out: where that would be needed, nothing is found.

    Raises:
        TypeError: when its class does not take them.
    """
    given = {name: copied(value) for name, value in arguments.items()}
    with untouched(arguments.values()):
        try:
            with torch.device("meta"):
                found = _compare(obj, construct(type(obj), given))
        except Exception:  # constructors may do what needs memory; whatever is wrong shows below
            found = None
        if found == [] or quickly:
            return [] if found is None else [one for one in found if not _holds_tensors(one.value)]
        try:
            return _compare(obj, construct(type(obj), given))
        except Exception as error:
            raise TypeError(
                f"{type(obj).__qualname__} cannot be built again of its arguments {sorted(arguments)}: "
                f"{type(error).__name__} {error}; keep each under its name as it was given, or define get_config_dict"
            ) from error


def _holds_tensors(value: Any) -> bool:
    """Without memory they have no values, so they differ from every other."""
    if isinstance(value, Mapping):
        return any(map(_holds_tensors, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, (list, tuple)) and any(map(_holds_tensors, value)))


def _compare(obj: Any, other: Any) -> list[Difference]:
    if type(obj) is not type(other):
        return [Difference("", "", None, f"its constructor makes a {type(other).__qualname__}")]
    found = list(_attributes(obj, other, Teller()))
    if isinstance(obj, nn.Module):
        mine, others = _shapes(obj), _shapes(other)
        for name in sorted(mine.keys() | others.keys()):
            if mine.get(name) != others.get(name):
                why = f"is {mine.get(name, 'missing')} here, {others.get(name, 'missing')} there"
                found.append(Difference("state", name, None, why))
    return found


def _attributes(obj: Any, other: Any, teller: Teller, owner: str = "") -> Iterator[Difference]:
    mine, others = _told(obj), _told(other)
    if not owner:
        twins = _memories(other, others)
        for name, value in _memories(obj, mine).items():
            mine[name] = value
            others |= {name: twins[name]} if name in twins else {}
    for name in sorted(mine.keys() | others.keys()):
        if name not in mine or name not in others:
            why = "was set later" if name in mine else "is gone"
            yield Difference(owner, name, mine.get(name), why, name in mine and is_plain(mine[name]))
            continue
        try:
            if teller.tell(mine[name]) != teller.tell(others[name]):
                why = f"is {mine[name]!r:.60} here and {others[name]!r:.60} there"
                yield Difference(owner, name, mine[name], why, is_plain(mine[name]))
        except CannotTellError as error:
            yield Difference(owner, name, mine[name], str(error), is_unknown=True)
    if not isinstance(obj, nn.Module):
        return
    for name in sorted(obj._modules.keys() | other._modules.keys()):
        one, twin = obj._modules.get(name), other._modules.get(name)
        path = f"{owner}.{name}".strip(".")
        if one is twin:
            continue
        if type(one) is not type(twin):
            yield Difference(path, "", None, f"is a {type(one).__name__} here and a {type(twin).__name__} there")
        else:
            yield from _attributes(one, twin, teller, path)


def _memories(obj: Any, told: Mapping[str, Any]) -> dict[str, Any]:
    """What methods count or fill, as far as files hold it: perhaps words that were numbered as they came."""
    held = {name: value for name, value in getattr(obj, "__dict__", {}).items() if name not in INTERNALS}
    hidden = {name: value for name, value in held.items() if name not in told or told[name] is not value}
    return {name: value for name, value in hidden.items() if is_plain(value) and not is_cached(obj, name)}


def _told(obj: Any) -> dict[str, Any]:
    """What decides besides the state and the modules within."""
    text = module_text(obj) if isinstance(obj, nn.Module) else None
    told = attributes_of(obj) if text is None else {"configuration": text}
    told = {name: value for name, value in told.items() if not name.startswith("given ")}
    if isinstance(obj, nn.Module):
        kept = obj._non_persistent_buffers_set
        told |= {name: buffer for name, buffer in obj._buffers.items() if name in kept}
        told |= internal_hooks(obj)
    return told


def _shapes(module: nn.Module) -> dict[str, Any]:
    state = module.state_dict().items()
    return {name: tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__ for name, value in state}
