"""The files of a component, and what a class may have of them.

```
component.json         format version, class, and what was changed after construction
config.json            the constructor's arguments; parts by their places below the root
model.safetensors      the tensors, but for those of parts and those that stand elsewhere already
arguments.safetensors  arrays among the arguments, where there are any
<argument>/            a part
```
"""

from __future__ import annotations

import inspect
import keyword
from inspect import Parameter
from pathlib import Path
from typing import Any

from torch import nn

from simlearn.components.arguments import arguments_of, is_plain, parameters_of
from simlearn.components.code import is_framework
from simlearn.components.state import INTERNALS
from simlearn.components.weights import WEIGHTS_FILE
from simlearn.files import read_versioned_json

COMPONENT_FILE, CONFIG_FILE, ARRAYS_FILE = "component.json", "config.json", "arguments.safetensors"
FORMAT_VERSION = 2


def read_entry(file: Path) -> dict[str, Any]:
    """What `component.json` says."""
    return read_versioned_json(file, "component", newest=FORMAT_VERSION)


def is_abstract(cls: Any) -> bool:
    """Whether a class leaves open what its base wants defined."""
    for base in cls.__mro__:
        for name in vars(base).get("required", ()):
            if inspect.getattr_static(cls, name, None) is vars(base).get(name):
                return True
    return False


def overrides(cls: Any, name: str) -> bool:
    """Whether a class defines a method of components itself."""
    definer = next((base for base in cls.__mro__ if name in vars(base)), None)
    return definer is not None and definer.__module__ != "simlearn.components.component"


def may_be_changed(cls: type, name: str) -> bool:
    """Whether an attribute may be set after construction: data of a class that is not simlearn's, nothing of torch."""
    known = inspect.getattr_static(cls, name, None)
    return (
        not is_framework(cls.__module__)
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and name not in INTERNALS
        and (known is None or is_plain(known))
    )


def defined_below(cls: type, name: str, other: str) -> bool:
    """Whether a class defines something in a subclass of the class that defines something else."""
    order = {method: number for number, base in enumerate(reversed(cls.__mro__)) for method in vars(base)}
    return order[name] > order[other]


def check_own_saving(component: Any) -> None:
    """Refuse what the `save` or `load` of a component's class cannot know of: arguments of a subclass below them.

    Raises:
        TypeError: naming the arguments and the cure.
    """
    cls = type(component)
    kinds = {name: parameter.kind for name, parameter in parameters_of(cls).items()}
    taken = kinds.keys() | arguments_of(component).given.keys()
    named = {name for name in taken if kinds.get(name) not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)}
    for name in ("save", "load", "load_with"):
        if not overrides(cls, name):
            continue
        definer = next(base for base in cls.__mro__ if name in vars(base))
        if more := sorted(named - parameters_of(definer).keys()):
            raise TypeError(
                f"{cls.__qualname__} takes the arguments {more}, of which the {name} of {definer.__qualname__} does "
                f"not know; define save and load for {cls.__qualname__} too"
            )


def check_saved(component: Any, folder: Path) -> None:
    """Refuse what a class's own `save` wrote where it leaves out what loading needs.

    Raises:
        TypeError: naming the file that is missing.
    """
    cls = type(component)
    if overrides(cls, "load") or overrides(cls, "load_with"):
        return
    has_parts = any(folder.rglob(f"*/{COMPONENT_FILE}"))  # which may have all the weights
    needed = [CONFIG_FILE, WEIGHTS_FILE] if isinstance(component, nn.Module) and not has_parts else [CONFIG_FILE]
    if lacking := [name for name in needed if not (folder / name).is_file()]:
        raise TypeError(f"{cls.__qualname__}.save wrote no {lacking[0]}, which loading reads; define load too")
