"""What decides what an object does, as a digest: the same in every process and on every machine, or refused.

Values are told by content; functions and classes that are nobody's library by their code, with the arguments that a
partial binds, what a closure holds and the globals that the code reads; other objects by what pickle would store of
them. What cannot be told so (an open file, a socket, a generator) raises: a digest that left it out would call two
things one.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from hashlib import blake2b
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from simlearn.components import hugging_face
from simlearn.components.code import canonical_source, code_of, home_of, is_framework, is_library, references
from simlearn.components.state import attributes_of, class_members
from simlearn.components.structure import structure_of, tensors_of
from simlearn.hashing import content_key

_SILENT = frozenset("logging threading _thread concurrent multiprocessing weakref tqdm".split())
"""Packages whose objects decide nothing of what an encoder says."""

_BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    np.ufunc,
)
_BY_NAME = (torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype)


class CannotTellError(TypeError):
    """Something that decides what an object does cannot be told from something else."""


class Teller:
    """Digests of objects. What is met twice, such as the weights, is read once."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, bytes]] = {}
        self._open: dict[int, int] = {}
        self._path: list[str] = []
        self._followed: set[str] = set()

    def tell(self, value: Any) -> bytes:
        """16 bytes that change with whatever decides what `value` is or does.

        Raises:
            CannotTellError: naming what cannot be told, and where it is.
        """
        try:
            return self._tell(value)
        except RecursionError:
            raise CannotTellError(f"{self._place()} is nested too deep to be told") from None

    def _tell(self, value: Any) -> bytes:
        if value is None or type(value) in (bool, int, float, str, bytes):
            return content_key(value)
        key = _tensor_key(value) if isinstance(value, Tensor) else id(value)
        if key in self._known:
            return self._known[key][1]
        if id(value) in self._open:  # it contains itself
            return content_key(("above", len(self._open) - self._open[id(value)]))
        self._open[id(value)] = len(self._open)
        try:
            digest = blake2b(digest_size=16)
            for part in self._parts(value):
                digest.update(part if isinstance(part, bytes) else content_key(part))
        finally:
            del self._open[id(value)]
        self._known[key] = value, digest.digest()  # kept alive: another object could get its id
        return digest.digest()

    def _named(self, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> Iterator[str | bytes]:
        for name, value in sorted(pairs.items()) if isinstance(pairs, Mapping) else pairs:
            yield name
            with self._at(name):
                yield self._tell(value)

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        self._path.append(name)
        yield
        self._path.pop()

    def _place(self) -> str:
        return " of ".join(repr(name) for name in reversed(self._path)) or "it"

    def _parts(self, value: Any) -> Iterator[Any]:
        """What a value is made of: texts and digests."""
        if isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, MethodType):
            yield from ("method", self._tell(value.__func__), self._tell(value.__self__))
        elif isinstance(value, (functools.partial, functools.partialmethod)):
            yield from ("partial", self._tell(value.func), self._tell(value.args), self._tell(value.keywords))
        elif isinstance(value, _BUILT_IN):
            owner = getattr(value, "__self__", None)
            yield from ("built in", f"{getattr(value, '__module__', None)} {getattr(value, '__qualname__', value)}")
            yield b"" if owner is None or isinstance(owner, ModuleType) else self._tell(owner)
        elif isinstance(value, (staticmethod, classmethod, functools.cached_property, property)):
            wrapped = [getattr(value, name, None) for name in ("__func__", "func", "fget", "fset")]
            yield from (type(value).__name__, *map(self._tell, wrapped))
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, ModuleType):
            yield from ("module", value.__name__ if is_library(value.__name__) else self._source(value))
        elif isinstance(value, nn.Module) or hasattr(value, "fingerprint_parts"):
            yield from self._module(value)
        elif isinstance(value, Tensor):
            yield from self._tensor(value)
        elif isinstance(value, _BY_NAME):
            yield from (type(value).__name__, str(value))
        elif isinstance(value, (list, tuple, Mapping, set, frozenset)):
            yield from self._container(value)
        elif isinstance(value, Enum):
            yield from ("member", type(value).__qualname__, value.name or str(value.value), self._tell(value.value))
        elif isinstance(value, re.Pattern):
            yield from ("pattern", value.pattern, int(value.flags))
        elif isinstance(value, torch.ScriptObject) or type(value).__module__.partition(".")[0] in _SILENT:
            yield from ("silent", type(value).__qualname__)
        elif (settings := hugging_face.settings_text(value)) is not None:
            yield from ("settings", type(value).__qualname__, settings)
        else:
            yield from self._object(value)

    def _function(self, function: FunctionType) -> Iterator[Any]:
        code, home = function.__code__, home_of(function)
        if self._is_library(home):
            yield from ("function", home, code.co_name)
        else:
            yield from ("code", code_of(function), self._tell(function.__defaults__))
            yield self._tell(function.__kwdefaults__)
            yield from self._named([(name, value) for name, value in references(function)])
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        yield from self._named([(name, _content(cell)) for name, cell in cells if name != "__class__"])
        yield from self._named({name: value for name, value in vars(function).items() if name != "__type_params__"})

    def _class(self, cls: type) -> Iterator[Any]:
        if self._is_library(cls.__module__):
            # Not the file of a class of simlearn, which may move within its room.
            room = ".".join(cls.__module__.split(".")[: 2 if cls.__module__.startswith("simlearn.") else None])
            yield from ("class", room, cls.__qualname__)
            return
        yield from ("class of its own", cls.__name__)
        yield from self._named(class_members(cls))
        yield from map(self._tell, cls.__bases__)

    def _module(self, module: Any) -> Iterator[Any]:
        """A component, or another module of torch: its class, what it says of itself, its parts and its tensors."""
        self._follow(type(module))
        yield from ("module of torch", self._tell(type(module)))
        if hasattr(module, "fingerprint_parts"):
            yield from self._named(module.fingerprint_parts())
        else:
            yield from self._named(structure_of(module))
            yield from self._named({f"tensor {name}": tensor for name, tensor in tensors_of(module).items()})

    def _tensor(self, tensor: Tensor) -> Iterator[Any]:
        yield from ("tensor", f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout}")
        if tensor.is_meta:
            return
        plain = tensor.detach().cpu()
        if plain.is_quantized:
            yield from (
                (float(plain.q_scale()), int(plain.q_zero_point()))
                if plain.qscheme() in _WHOLE
                else (
                    self._tell(plain.q_per_channel_scales()),
                    self._tell(plain.q_per_channel_zero_points()),
                )
            )
            plain = plain.int_repr()
        if plain.layout is not torch.strided:
            plain = plain.coalesce() if plain.layout is torch.sparse_coo else plain.to_sparse().coalesce()
            yield from (self._tell(plain.indices()), self._tell(plain.values()))
            return
        words = plain.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        yield blake2b(words.numpy().data, digest_size=16).digest()

    def _container(self, value: Any) -> Iterator[Any]:
        kind = next(kind for kind in (list, tuple, Mapping, frozenset, set) if isinstance(value, kind))
        yield from ("container", kind.__name__, len(value))
        if type(value) not in (list, tuple, dict, set, frozenset):
            yield self._tell(type(value))
        if isinstance(value, (set, frozenset)):
            yield from sorted(map(self._tell, value))
            return
        for place, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(value, Mapping):
                yield self._tell(place)
            with self._at(str(place)):
                yield self._tell(item)

    def _object(self, value: Any) -> Iterator[Any]:
        """An object of another kind: its class, and what pickle would store of it."""
        if isinstance(value, np.generic | np.ndarray) or type(value).__module__.partition(".")[0] in (
            "PIL",
            "datetime",
        ):
            yield from ("value", self._content(value))
            return
        if dataclasses.is_dataclass(value):
            yield from ("object", self._tell(type(value)))
            yield from self._named(attributes_of(value))
            return
        try:
            reduced = value.__reduce_ex__(4)
        except Exception as error:  # a reduction may raise anything, as pickle's users know
            raise self._refused(value, error) from None
        if isinstance(reduced, str):
            yield from ("global", f"{getattr(value, '__module__', None)} {reduced}")
            return
        make, arguments, *rest = reduced
        yield from ("object", self._tell(make), self._tell(arguments))
        state, *items = (*rest, None, None, None)[:3]
        if isinstance(state, Mapping) and hasattr(value, "__dict__") and state.keys() <= vars(value).keys():
            yield from self._named({str(key): one for key, one in attributes_of(value).items() if key in state})
        elif state is not None:
            yield self._tell(state)
        for more in items:
            if more is not None:
                yield self._tell(list(more))

    def _content(self, value: Any) -> bytes:
        try:
            return content_key(value)
        except (TypeError, ValueError) as error:
            raise self._refused(value, error) from None

    def _refused(self, value: Any, error: Exception) -> CannotTellError:
        return CannotTellError(
            f"{self._place()} is a {type(value).__module__}.{type(value).__qualname__}, of which nothing can be told "
            f"({error})"
        )

    def _source(self, module: ModuleType) -> str:
        try:
            return canonical_source(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError) as error:
            raise CannotTellError(f"{self._place()} is the module {module.__name__} without source ({error})") from None

    def _follow(self, cls: type) -> None:
        """Read the code of the package of a class, also where it is installed."""
        for base in cls.__mro__:
            if base is not object and not is_framework(base.__module__):
                self._followed.add(base.__module__.partition(".")[0])

    def _is_library(self, module: str) -> bool:
        return is_library(module) and module.partition(".")[0] not in self._followed


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _tensor_key(tensor: Tensor) -> Any:
    """Views of one memory are one tensor; what has no memory is itself."""
    if tensor.layout is not torch.strided or tensor.is_meta or not tensor.numel() or tensor.is_quantized:
        return id(tensor)
    return ("tensor", tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)


_WHOLE = (torch.per_tensor_affine, torch.per_tensor_symmetric)
