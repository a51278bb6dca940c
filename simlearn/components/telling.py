"""What decides what an object does, as a digest: the same in every process and on every machine, or refused.

Values are told by content; functions and classes that are nobody's library by their code, with the arguments that a
partial binds, what a closure holds and the globals that the code reads; other objects by what pickle would store of
them. What cannot be told so (an open file, a socket, a generator) raises: a digest that left it out would call two
things one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn

from simlearn.components import parts
from simlearn.components.code import home_of, is_framework, is_library
from simlearn.components.parts import Inner, Named, RefusedError, Unordered
from simlearn.components.reads import contents
from simlearn.components.state import calls_of
from simlearn.components.structure import structure_of, tensors_of
from simlearn.components.tensors import PLAIN_TENSORS, tensor_key, tensor_parts
from simlearn.hashing import content_key


class CannotTellError(TypeError):
    """Something that decides what an object does cannot be told from something else."""


class Teller:
    """Digests of objects. What is met twice, such as the weights, is read once."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Any, bytes]] = {}
        # What contains itself is one ring; the digests of its members differ by where one enters it, so none of them
        # serves another. They are found as Tarjan finds strongly connected components.
        self._open: dict[Any, tuple[int, Any]] = {}
        self._lowest: list[int] = []
        self._rings: dict[Any, Any] = {}
        self._inside: list[Any] = []
        self._held: list[Any] = []
        self._path: list[str] = []
        self._followed: set[str] = set()
        self._called: frozenset[str] = frozenset()

    def tell(self, value: Any) -> bytes:
        """16 bytes that change with whatever decides what `value` is or does.

        Raises:
            CannotTellError: naming what cannot be told, where it is, and what to do.
        """
        path = self._path[:]
        try:
            return self._tell(value)
        except RefusedError as error:
            raise CannotTellError(f"{self._place()} {error}") from None
        except RecursionError:
            raise CannotTellError(f"{self._place()} is nested too deep to be told; keep it in fewer levels") from None
        finally:
            self._path = path

    def _place(self) -> str:
        return " of ".join(repr(name) for name in reversed(self._path[-10:])) or "it"

    def _tell(self, value: Any) -> bytes:
        if type(value) in parts.PLAIN:
            return _key(value)
        key = tensor_key(value) if isinstance(value, Tensor) else id(value)
        ring = self._rings.get(key)
        if key in self._known and ring not in self._inside:
            return self._known[key][1]
        place = len(self._open)
        if key in self._open:  # it contains itself: how far above it stands says which it is
            above = self._open[key][0]
            self._lowest[-1] = min(self._lowest[-1], above)
            return _key(("above", place - above))
        self._open[key] = place, value  # kept alive: another object could get its id
        self._lowest.append(place)
        self._inside += [] if ring is None else [ring]
        try:
            digest = self._digest(value)
        finally:
            lowest = self._lowest.pop()
            self._inside = self._inside[: None if ring is None else -1]
            closed = list(self._open.items())[place:] if lowest == place else []
            for name, _ in closed:
                del self._open[name]
        if closed:
            self._known[key] = value, digest
            self._held += [closed] if len(closed) > 1 else []
            self._rings |= {name: self._rings.get(name, key) for name, _ in closed} if len(closed) > 1 else {}
        else:  # what it says depends on what it is in, so it stays open as long as that
            self._lowest[-1] = min(self._lowest[-1], lowest)
        return digest

    def _digest(self, value: Any) -> bytes:
        digest = blake2b(digest_size=16)
        for part in self._parts(value):
            if isinstance(part, bytes):
                digest.update(part)
            elif isinstance(part, Inner):
                digest.update(self._tell(part.value))
            elif isinstance(part, Named):
                pairs = sorted(part.pairs.items()) if isinstance(part.pairs, Mapping) else part.pairs
                for name, inner in pairs:
                    self._path.append(name)
                    digest.update(_key(name) + self._tell(inner))
                    self._path.pop()
            elif isinstance(part, Unordered):
                digest.update(b"".join(sorted(map(self._tell, part.values))))
            else:
                digest.update(_key(part))
        return digest.digest()

    def _parts(self, value: Any) -> Iterator[Any]:
        """What a value is made of: texts, numbers, digests and objects."""
        if isinstance(value, FunctionType):
            return parts.function_parts(value, by_name=self._is_library(home_of(value)))
        if isinstance(value, parts.PARTIALS + parts.WRAPPERS):
            return parts.wrapper_parts(value)
        if isinstance(value, parts.BUILT_IN):
            return parts.built_in_parts(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            is_named = is_library(value.__name__)
            return iter(("module", value.__name__ if is_named else Named(contents(vars(value)))))
        if isinstance(value, nn.Module) or hasattr(type(value), "fingerprint_parts"):
            return self._module(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, parts.CONTAINERS):
            return parts.container_parts(value, self._called)
        return parts.object_parts(value, self._called)

    def _class(self, cls: type) -> Iterator[Any]:
        if not isinstance(cls.__module__, str):  # of a compiled library, as the types of its types
            yield from ("class", cls.__qualname__)
        elif self._is_library(cls.__module__) and parts.is_found(cls):
            # Not the file of a class of simlearn, which may move within its room.
            room = ".".join(cls.__module__.split(".")[: 2 if cls.__module__.startswith("simlearn.") else None])
            yield from ("class", room, cls.__qualname__)
        else:
            yield from parts.class_parts(cls)

    def _module(self, module: Any) -> Iterator[Any]:
        """A component, or another module of torch: its class, what it says of itself, its parts and its tensors."""
        self._follow(type(module))
        yield from ("module of torch", Inner(type(module)))
        if hasattr(type(module), "fingerprint_parts"):
            yield Named(module.fingerprint_parts())
        else:
            yield Named(structure_of(module))
            yield Named({f"tensor {name}": tensor for name, tensor in tensors_of(module).items()})

    def _tensor(self, tensor: Tensor) -> Iterator[Any]:
        try:
            made_of = list(tensor_parts(tensor))
        except TypeError as error:
            raise RefusedError(tensor, error) from None
        yield "tensor"
        yield from (Inner(part) if isinstance(part, Tensor) else part for part in made_of)
        if type(tensor) not in PLAIN_TENSORS:  # others have attributes that only libraries read
            yield from (Inner(type(tensor)), Named(vars(tensor)))

    def _follow(self, cls: type) -> None:
        """Read the code of the package of a class, also where it is installed, and know what it calls."""
        for base in cls.__mro__:
            if base is not object and not is_framework(base.__module__):
                self._followed.add(base.__module__.partition(".")[0])
        if not is_framework(cls.__module__):
            self._called |= calls_of(cls)

    def _is_library(self, module: str) -> bool:
        return is_library(module) and module.partition(".")[0] not in self._followed


def _key(value: Any) -> bytes:
    """The key of a short value, which fails of nothing but too many calls above."""
    try:
        return content_key(value)
    except ValueError:
        raise RecursionError from None
