"""Arguments as JSON: numbers, text and containers as they are, everything else under a name that starts with `$`.

=============  =================================================================================================
`$tuple`       a tuple; `$set`, `$frozenset`, `$dict` (keys that are no text), `$bytes`, `$path`, `$dtype`, `$scalar`
`$array`       an array of numpy, in `arguments.safetensors`; `$tensor` one of torch, `$parameter` likewise
`$layer`       a layer of torch.nn
`$part`        an object with a folder of its own, below the same root
`$function`    a function or class by its name, which loading must be given or trust; `$partial` with arguments
`$member`      a member of an enumeration, by the name of its class and its value; `$named` a named tuple, likewise
=============  =================================================================================================
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path, PurePath
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simlearn.components.resolver import ClassResolver, function_entry
from simlearn.components.torch_layers import SETTINGS, build, describe
from simlearn.components.weights import check_kinds
from simlearn.files import LoadError

AddPart = Callable[[Any, str], str]
"""Plans a part, given the object and a name for its folder; returns its place."""


class ArgumentWriter:
    """From arguments to JSON.

    Args:
        add_part: for objects that need a folder.
        arrays: filled with tensors by name.
    """

    def __init__(self, add_part: AddPart, arrays: dict[str, Tensor]) -> None:
        self._add_part = add_part
        self._arrays = arrays
        self._layers: list[nn.Module] = []

    def encode(self, value: Any, name: str) -> Any:
        """One argument, or a value in it.

        Args:
            value: the value.
            name: where it stands, as `options/text`.

        Raises:
            TypeError: for what cannot be saved.
            ValueError: for NaN and infinity.
        """
        if isinstance(value, Enum):
            return {"$member": [function_entry(type(value), name), self.encode(value.value, name)]}
        if value is None or type(value) in (bool, int, str):
            return value
        if isinstance(value, np.str_):
            return str(value)
        if type(value) is float:
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}, which JSON does not hold; give a finite number")
            return value
        if isinstance(value, list) and type(value) is list:
            return self._all(value, name)
        if type(value) is tuple:
            return {"$tuple": self._all(value, name)}
        if isinstance(value, tuple) and hasattr(type(value), "_fields"):
            return {"$named": [function_entry(type(value), name), self._all(value, name)]}
        if type(value) in (set, frozenset):
            return {f"${type(value).__name__}": self._all(sorted(value, key=repr), name)}
        if type(value) is dict:
            return self._mapping(value, name)
        if isinstance(value, bytes):
            return {"$bytes": base64.b64encode(value).decode("ascii")}
        if isinstance(value, PurePath):
            return {"$path": value.as_posix()}
        if isinstance(value, torch.dtype):
            return {"$dtype": str(value).removeprefix("torch.")}
        if isinstance(value, np.generic):
            return {"$scalar": [value.dtype.str, self.encode(value.item(), name)]}
        if isinstance(value, (Tensor, np.ndarray)):
            return self._array(value, name)
        if isinstance(value, functools.partial):
            function = self.encode(value.func, f"{name}/function")
            given = self._all(value.args, f"{name}/arguments"), self._mapping(value.keywords, f"{name}/arguments")
            return {"$partial": [function, *given]}
        if isinstance(value, (FunctionType, BuiltinFunctionType, MethodDescriptorType, type)):
            return {"$function": function_entry(value, name)}
        if type(value) in SETTINGS:
            return self._layer(value)
        if type(value) is nn.Sequential:
            return {"$layers": self._all(value, name)}
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            plain = next(kind for kind in (dict, list, tuple, set, frozenset) if isinstance(value, kind)).__name__
            raise TypeError(f"{name} is a {type(value).__name__}, which no file holds; give {plain}(...) of it")
        return {"$part": self._add_part(value, name)}

    def override(self, value: Any, name: str) -> Any:
        """A value that a class itself turned into what JSON can hold, but for parts."""
        if _is_part(value):
            return {"$part": self._add_part(value, name)}
        if isinstance(value, dict):
            return {key: self.override(item, f"{name}/{number}") for number, (key, item) in enumerate(value.items())}
        if isinstance(value, (list, tuple)):
            return [self.override(item, f"{name}/{number}") for number, item in enumerate(value)]
        return value

    def _all(self, values: Any, name: str) -> list[Any]:
        return [self.encode(value, f"{name}/{number}") for number, value in enumerate(values)]

    def _mapping(self, values: Mapping[Any, Any], name: str) -> Any:
        if all(isinstance(key, str) and not key.startswith("$") for key in values):
            folders = folder_names(list(values))
            return {key: self.encode(value, f"{name}/{folders[key]}") for key, value in values.items()}
        pairs = [[key, value] for key, value in values.items()]
        return {"$dict": [self._all(pair, f"{name}/{number}") for number, pair in enumerate(pairs)]}

    def _layer(self, layer: nn.Module) -> dict[str, Any]:
        for number, known in enumerate(self._layers):
            if known is layer:
                return {"$layer": number}
        self._layers.append(layer)
        return {"$layer": describe(layer)}

    def _array(self, value: Any, name: str) -> Any:
        is_numpy = isinstance(value, np.ndarray)
        if is_numpy:
            if value.dtype.hasobject or value.dtype.kind not in "biufc" or isinstance(value, np.ma.MaskedArray):
                raise TypeError(f"{name} is an array of {value.dtype}, which safetensors does not hold")
            native = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
            value = torch.from_numpy(native.reshape(value.shape).copy())
        check_kinds("an argument", {name: value})
        tensor = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        key = name.replace("/", ".")
        self._arrays[key] = tensor
        kind = "$array" if is_numpy else "$parameter" if isinstance(value, nn.Parameter) else "$tensor"
        return {kind: key}


class ArgumentReader:
    """The inverse of `ArgumentWriter`.

    Args:
        get_part: from a place to the object that stands there.
        arrays: tensors by name.
        resolver: which functions are trusted.
        file: what is read, for the errors.
    """

    def __init__(
        self, get_part: Callable[[str], Any], arrays: Mapping[str, Tensor], resolver: ClassResolver, file: Path
    ) -> None:
        self._file = file
        self._get_part = get_part
        self._arrays = arrays
        self._resolver = resolver
        self._layers: list[nn.Module] = []

    def decode(self, content: Any) -> Any:
        """An argument, or several, of a JSON file; what is no JSON stays as it is.

        Raises:
            LoadError: for what is never written.
        """
        if isinstance(content, list):
            return [self.decode(item) for item in content]
        if not isinstance(content, dict):
            return content
        if len(content) != 1 or not next(iter(content)).startswith("$"):
            return {key: self.decode(item) for key, item in content.items()}
        kind, told = next(iter(content.items()))
        try:
            return self._special(kind, told)
        except LoadError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
            why = f"{type(error).__name__} {error!s:.200}"
            raise LoadError(f"{self._file}: {content!r:.200} is no argument that was saved: {why}") from None

    def _special(self, kind: str, told: Any) -> Any:
        if kind in _CONTAINERS:
            return _CONTAINERS[kind]([self.decode(item) for item in told])
        if kind == "$layers":
            return nn.Sequential(*(self.decode(item) for item in told))
        if kind == "$named":
            cls, items = told
            return self._resolver.resolve(cls, tuple, self._file)(*(self.decode(item) for item in items))
        if kind == "$dict":
            return {self.decode(key): self.decode(value) for key, value in told}
        if kind == "$bytes":
            return base64.b64decode(told, validate=True)
        if kind == "$path":
            return Path(str(told))
        if kind == "$dtype":
            return _DTYPES[told]
        if kind == "$scalar":
            scalar = _SCALARS[told[0]](self.decode(told[1]))
            if not isinstance(scalar, np.generic):
                raise TypeError(f"it is a {type(scalar).__name__}")
            return scalar
        if kind in ("$array", "$tensor", "$parameter"):
            tensor = self._arrays[told]
            if kind == "$parameter":
                return nn.Parameter(tensor, requires_grad=tensor.is_floating_point() or tensor.is_complex())
            return tensor.numpy() if kind == "$array" else tensor
        if kind == "$layer":
            return self._layer(told)
        if kind == "$part":
            return self._get_part(told)
        if kind == "$function":
            return self._resolver.resolve_function(told, self._file)
        if kind == "$member":
            cls, member = told
            return self._resolver.resolve_enumeration(cls, self._file)(self.decode(member))
        if kind == "$partial":
            function, arguments, keywords = (self.decode(item) for item in told)
            return functools.partial(function, *arguments, **keywords)
        raise KeyError(kind)

    def _layer(self, told: Any) -> nn.Module:
        if type(told) is int:
            if told not in range(len(self._layers)):
                raise ValueError(f"layer {told} must repeat an earlier one, there are {len(self._layers)}")
            return self._layers[told]
        if len(self._layers) >= _MOST_LAYERS:
            raise ValueError(f"there are more than {_MOST_LAYERS:,} layers, which no head has")
        if not isinstance(told, dict):
            raise TypeError(f"a layer must be an object, got {told!r:.100}")
        try:
            self._layers.append(build(told))
        except LoadError as error:
            raise ValueError(str(error)) from None
        return self._layers[-1]


_MOST_LAYERS = 10_000

_DTYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}

_CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}

_SCALARS = {np.dtype(kind).str: kind for kind in np.sctypeDict.values() if np.dtype(kind).kind in "biufc"}


def as_json(value: Any) -> Any:
    """What a class itself turned into JSON, as it comes back from a file; modules and components stay.

    Raises:
        TypeError: for what JSON does not hold.
        ValueError: for NaN and infinity.
    """
    if _is_part(value):
        return value
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"{wrong[0]!r:.60} is a key, which JSON would make a text")
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return json.loads(json.dumps(value, allow_nan=False))


def _is_part(value: Any) -> bool:
    return isinstance(value, nn.Module) or hasattr(value, "fingerprint_parts")


def parts_named(content: Any) -> list[str]:
    """The places of all parts that arguments name, in the order in which they do."""
    if isinstance(content, list):
        return [place for item in content for place in parts_named(item)]
    if not isinstance(content, dict):
        return []
    if len(content) == 1 and isinstance(content.get("$part"), str):
        return [content["$part"]]
    return [place for item in content.values() for place in parts_named(item)]


def folder_names(keys: list[str]) -> dict[str, str]:
    """A folder's name for each key: the key where it can be one and no other differs from it in case alone."""
    plain = all(key.isascii() and key.replace("_", "a").replace("-", "a").isalnum() for key in keys)
    if plain and len({key.lower() for key in keys}) == len(keys):
        return {key: key for key in keys}
    return {key: str(number) for number, key in enumerate(keys)}
