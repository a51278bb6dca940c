"""From the name of a class in a file to the class, among those the caller trusts."""

from __future__ import annotations

import builtins
import importlib
import math
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from simlearn.components.code import is_framework
from simlearn.components.torch_layers import SETTINGS
from simlearn.files.errors import LoadError, UntrustedError

_OWN_MODULES = ("simlearn.encoders", "simlearn.heads", "simlearn.losses", "simlearn.scoring")
_BUILT_IN = frozenset("str.lower str.upper str.casefold str.strip str.split str.splitlines len list tuple str".split())
_COMPUTING = {"torch.nn": nn, "torch.nn.functional": functional, "torch": torch, "math": math}
_CALLABLES = (type, FunctionType, BuiltinFunctionType, MethodDescriptorType)
_Class = TypeVar("_Class")


class ClassResolver:
    """Finds the class that a file names, among those the caller trusts.

    Args:
        classes: classes the caller has at hand, also those of a notebook or of `__main__`.
        trusted_modules: names of modules that may be imported, with their submodules.
    """

    def __init__(self, classes: Iterable[type] = (), trusted_modules: Iterable[str] = ()) -> None:
        if isinstance(trusted_modules, str):
            raise TypeError(f"trusted_modules must be a tuple of names, write ({trusted_modules!r},)")
        if isinstance(classes, type):
            raise TypeError(f"classes must be a tuple of classes, write ({classes.__name__},)")
        self.classes = tuple(classes)
        self.trusted_modules = tuple(trusted_modules)

    def resolve(self, entry: Mapping[str, Any], base: type[_Class], file: str | Path) -> type[_Class]:
        """The class an entry `{"module": ..., "class": ...}` names.

        Args:
            entry: what the file says.
            base: what the class must derive from.
            file: where the entry stands, for the errors.

        Raises:
            UntrustedError: when the class is neither simlearn's nor the caller's, or no subclass of `base`.
            LoadError: when the entry names no class, or a trusted module is not installed.
        """
        module, name = _names(entry, file)
        found = self._found(module, name, file)
        asked = f"{file}: {module}.{name}"[:1000]
        if not isinstance(found, type):
            raise _untrusted(module, name, file)
        if not issubclass(found, base):
            raise UntrustedError(f"{asked} is no {base.__name__}, which stands at this place of a model")
        if not self._may_use(found, module):
            raise _untrusted(module, name, file)
        return found

    def resolve_function(self, entry: Any, file: str | Path) -> Any:
        """The function or class that an argument names: one of the caller's, or one of torch that only computes.

        Args:
            entry: what the file says.
            file: where the entry stands, for the errors.

        Raises:
            UntrustedError: when it is neither.
            LoadError: when the entry names none, or a trusted module is not installed.
        """
        module, name = _names(entry, file)
        if module == "builtins" and name in _BUILT_IN:
            owner, _, method = name.partition(".")
            return getattr(getattr(builtins, owner), method) if method else getattr(builtins, name)
        if (function := _computing(module, name)) is not None:
            return function
        found = self._found(module, name, file)
        if not isinstance(found, _CALLABLES) or not self._may_use(found, module):
            raise _untrusted(module, name, file)
        return found

    def resolve_enumeration(self, entry: Any, file: str | Path) -> type[Enum]:
        """The enumeration whose member is an argument: one of the caller's, or simlearn's `Distance`.

        Args:
            entry: what the file says.
            file: where the entry stands, for the errors.

        Raises:
            UntrustedError: when it is none of these.
            LoadError: when the entry names none, or a trusted module is not installed.
        """
        from simlearn.distances import Distance

        if entry == {"module": Distance.__module__, "class": Distance.__name__}:
            return Distance
        return self.resolve(entry, Enum, file)

    def _found(self, module: str, name: str, file: str | Path) -> Any:
        try:
            return self._own(module, name) or self._given(module, name) or self._imported(module, name)
        except ImportError as error:
            raise LoadError(f"{file} needs {module}, which cannot be imported: {error}; install its package") from error

    def _own(self, module: str, name: str) -> type | None:
        if module not in _OWN_MODULES:
            return None
        room = importlib.import_module(module)
        found = getattr(room, name) if name in room.__all__ else None
        return found if isinstance(found, type) else None

    def _given(self, module: str, name: str) -> Any:
        exact = [cls for cls in self.classes if (cls.__module__, cls.__qualname__) == (module, name)]
        # A notebook's class comes back from another module (`__main__` here, `__mp_main__` there), under the same name.
        same_name = [cls for cls in self.classes if cls.__qualname__.rpartition(".")[2] == name.rpartition(".")[2]]
        if not exact and len(same_name) > 1:
            raise LoadError(f"several of the given classes are called {name}: {same_name}")
        return next(iter(exact or same_name), None)

    def _imported(self, module: str, name: str) -> Any:
        if not self._trusts(module):
            return None
        if "__main__" in module.split("."):  # importing one runs a program
            return None
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        return found

    def _trusts(self, module: Any) -> bool:
        return any(module == trusted or str(module).startswith(f"{trusted}.") for trusted in self.trusted_modules)

    def _may_use(self, found: Any, module: str) -> bool:
        """Whether what was found is trusted itself: a trusted module's `import os` brings `os.system` with it."""
        is_given = any(found is one for one in self.classes)
        return module in _OWN_MODULES or is_given or self._trusts(getattr(found, "__module__", None))


SIMLEARN_ONLY = ClassResolver()


def _names(entry: Any, file: str | Path) -> tuple[str, str]:
    if not isinstance(entry, Mapping):
        raise LoadError(f"{file} must name a module and a class, found {entry!r:.200}")
    module, name = entry.get("module"), entry.get("class")
    if not isinstance(module, str) or not isinstance(name, str):
        raise LoadError(f"{file} must name a module and a class, found {dict(entry)!r:.200}")
    return module, name


def _untrusted(module: str, name: str, file: str | Path) -> UntrustedError:
    asked = f"{file}: {module}.{name}"[:1000]
    return UntrustedError(
        f"{asked} is not a class of simlearn; if you trust it, pass the class itself "
        f"(classes=({name.rpartition('.')[2]:.100},)) or let its module be imported "
        f"(trusted_modules=({module!r:.100},))"
    )


def _computing(module: str, name: str) -> Any:
    """A function that makes numbers of numbers and does nothing else, as `torch.load` would; or a layer's class."""
    if name.startswith("_") or name.endswith("_"):
        return None
    found = getattr(_COMPUTING[module], name, None) if module in _COMPUTING else None
    if module == "torch.nn":
        return found if found in SETTINGS else None
    if module == "torch":
        is_one = hasattr(torch.Tensor, name) or name in torch.functional.__all__
    else:
        is_one = getattr(found, "__module__", None) in ("torch.nn.functional", "torch._C._nn", "torch", "math")
    return found if is_one and isinstance(found, (FunctionType, BuiltinFunctionType)) else None


def function_entry(value: Any, name: str) -> dict[str, str]:
    """How a file names a function or class that others can import.

    Args:
        value: the function.
        name: of the argument, for the error.

    Raises:
        TypeError: for a lambda, and for a function made within another one.
    """
    called = str(getattr(value, "__name__", ""))
    for room in _COMPUTING:
        if _computing(room, called) is value:
            return {"module": room, "class": called}
    owner = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None) or getattr(owner, "__module__", None)
    found: Any = sys.modules.get(str(module))
    for part in str(value.__qualname__).split("."):
        found = getattr(found, part, None)
    if found is not value and module != "__main__":
        raise TypeError(
            f"{name} is the function {value.__qualname__}, which has no name to find it again by (a lambda, or one "
            "made within another function); define it at the top of a module"
        )
    if "<" in value.__qualname__:
        raise TypeError(f"{name} is {value.__qualname__}, which no file can name; define it at the top of a module")
    return {"module": str(module), "class": str(value.__qualname__)}


def own_class(name: Any, base: type[_Class]) -> type[_Class] | None:
    """The class of simlearn of a name that derives from `base`; None where there is none."""
    for module in _OWN_MODULES:
        room = importlib.import_module(module)
        found = getattr(room, name) if name in room.__all__ else None
        if isinstance(found, type) and issubclass(found, base):
            return found
    return None


def check_class(cls: type) -> None:
    """Refuse classes of libraries that loading would not build.

    Raises:
        TypeError: naming the class.
    """
    entry = class_entry(cls)
    if entry["module"] in _OWN_MODULES:
        if cls.__name__ not in importlib.import_module(entry["module"]).__all__:
            raise TypeError(
                f"{cls.__name__} is a class of simlearn that nothing loads; save the component that holds it"
            )
    elif is_framework(cls.__module__) or cls.__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        raise TypeError(
            f"a {cls.__module__}.{cls.__qualname__} cannot be saved without pickle; wrap it in a class of your own "
            "that makes it of numbers and text"
        )


def is_own(entry: Mapping[str, Any]) -> bool:
    """Whether an entry names a class of simlearn, which needs nobody's trust."""
    return entry.get("module") in _OWN_MODULES


def class_entry(cls: type) -> dict[str, str]:
    """How a file names a class: its room for those of simlearn, module and qualified name for others."""
    for room in _OWN_MODULES:
        if cls.__module__ == room or cls.__module__.startswith(f"{room}."):
            return {"module": room, "class": cls.__name__}
    return {"module": cls.__module__, "class": cls.__qualname__}
