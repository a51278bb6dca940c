"""Components from folders. Nothing is built that the caller does not trust, nor larger than its files."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from simlearn.components import libraries
from simlearn.components.arguments import construct, is_plain
from simlearn.components.building import beside, build_with_weights, fitting
from simlearn.components.code import is_framework
from simlearn.components.layout import (
    ARRAYS_FILE,
    COMPONENT_FILE,
    CONFIG_FILE,
    is_abstract,
    may_be_changed,
    overrides,
    read_entry,
)
from simlearn.components.resolver import SIMLEARN_ONLY, ClassResolver
from simlearn.components.values import ArgumentReader, parts_named
from simlearn.components.weights import WEIGHTS_FILE, Header, place, read_header, read_tensors
from simlearn.files import LoadError, UntrustedError, read_json
from simlearn.files.json_files import MAX_JSON_BYTES

_Class = TypeVar("_Class")


class Loading:
    """Reads components below a root, each once, so that what was one object is one again.

    Args:
        root: the folder that holds all of them; it must have passed `check_folder`.
        resolver: which classes are trusted.
    """

    def __init__(self, root: str | Path, resolver: ClassResolver = SIMLEARN_ONLY) -> None:
        self.root = Path(root)
        self._resolver = resolver
        self._loaded: dict[str, Any] = {}
        self._open: list[str] = []
        self._ties: list[tuple[str, Any, Mapping[str, Any]]] = []

    def load(self, where: str, base: type[_Class]) -> _Class:
        """The component at a place below the root.

        Args:
            where: the place, as `heads/query`.
            base: what its class must derive from.

        Raises:
            LoadError: when it is damaged or of a newer format.
            UntrustedError: when its class is neither simlearn's nor one the resolver trusts.
            ImportError: when the component needs a package that is not installed.
        """
        file = self.root / where / COMPONENT_FILE
        if where not in self._loaded:
            entry = _checked(read_entry(file), file)
            library = libraries.named(entry)
            if library is not None:
                self._loaded[where] = library.read(file.parent, entry)
            else:
                self._loaded[where] = self._component(self._resolver.resolve(entry, base, file), where, entry)
            self._ties.append((where, self._loaded[where], entry.get("ties", {})))
        found = self._loaded[where]
        if not isinstance(found, base):
            raise UntrustedError(f"{file}: a {type(found).__name__} is no {base.__name__}, which stands at this place")
        return found

    def own(self, cls: type[_Class]) -> _Class:
        """The component at the root itself, as a class that the caller has at hand."""
        file = self.root / COMPONENT_FILE
        entry: dict[str, Any] = _checked(read_entry(file), file) if file.is_file() else {"format_version": 1}
        found: Any = self._generic(cls, "", entry)
        self._loaded[""] = found
        self._ties.append(("", found, entry.get("ties", {})))
        self.tie()
        component: _Class = found
        return component

    def tie(self) -> None:
        """Make one of the tensors that were one. Call it when all components are loaded.

        Raises:
            LoadError: for a tie to what is not there, or is of another shape.
        """
        for where, component, ties in self._ties:
            file = self.root / where / COMPONENT_FILE
            for name, (first, key) in ties.items():
                try:
                    tensor = self._loaded[first].state_dict(keep_vars=True)[key]
                    old = component.state_dict(keep_vars=True)[name]
                    if not _is_alike(old, tensor):
                        raise ValueError(f"{tuple(tensor.shape)} of {tensor.dtype} does not go there")
                    path, _, last = name.rpartition(".")
                    place(component.get_submodule(path), last, tensor)
                except (LookupError, TypeError, ValueError, AttributeError) as error:
                    raise LoadError(f"{file} ties {name!r:.100} to {first!r:.100}, which cannot be: {error}") from None
        for where, component, ties in self._ties:
            state = component.state_dict(keep_vars=True) if ties else {}
            if any(state[name].is_meta for name in ties):
                raise LoadError(f"{self.root / where / COMPONENT_FILE} ties tensors to one another that no file holds")
        self._ties = []

    def _component(self, cls: Any, where: str, entry: Mapping[str, Any]) -> Any:
        folder = self.root / where
        try:
            if overrides(cls, "load"):
                found = cls.load(str(folder))
            elif overrides(cls, "load_with"):
                found = cls.load_with(str(folder), self._resolver)
            else:
                return self._generic(cls, where, entry)
        except (LoadError, ImportError):
            raise
        except Exception as error:
            raise LoadError(f"{folder} cannot be loaded as {cls.__name__}: {type(error).__name__} {error}") from error
        if not isinstance(found, cls):
            raise LoadError(f"{cls.__name__}.load returned a {type(found).__name__}, not a {cls.__name__}")
        return found

    def _generic(self, cls: Any, where: str, entry: Mapping[str, Any]) -> Any:
        folder = self.root / where
        file = folder / CONFIG_FILE
        if inspect.isabstract(cls) or is_abstract(cls):
            raise UntrustedError(f"{folder / COMPONENT_FILE}: {cls.__name__} is abstract, so no model has one")
        if where in self._open or len(self._open) > _DEPTH:
            raise LoadError(f"{folder / COMPONENT_FILE} is a part of itself, or nested more than {_DEPTH} deep")
        self._open.append(where)
        try:
            config = read_json(file)
            if not isinstance(config, dict):
                raise LoadError(f"{file} does not fit {cls.__name__}: it holds no settings")
            is_old = entry["format_version"] == 1 and hasattr(cls, "from_version_1")
            if is_old:
                config = fitting(lambda: cls.from_version_1(config, folder, where), cls, file)()
            for name in getattr(cls, "opened_by_name", ()):
                if _is_name(config.get(name)):
                    raise UntrustedError(f"{file} asks for {name}={config[name]!r:.200}, which lies elsewhere")
            base = getattr(cls, "part_base", object)
            parts = {name: self.load(_inside(name, file), base) for name in dict.fromkeys(parts_named(config))}
            arrays = self._arrays(cls, folder / ARRAYS_FILE)
        finally:
            self._open.pop()

        def make() -> Any:
            return construct(cls, ArgumentReader(parts.__getitem__, arrays, self._resolver, file).decode(config))

        if not issubclass(cls, nn.Module):
            with beside(folder, 0, 0):
                component = fitting(make, cls, file)()
        else:
            given = [part for part in (*parts.values(), *config.values()) if isinstance(part, nn.Module)]
            header = self._header(folder, entry, may_lack=bool(parts) or is_old)
            header = header._replace(prefix=cls.version_1_prefix) if is_old else header
            component = build_with_weights(fitting(make, cls, file), header, given)
        return self._with_changes(component, where, entry)

    def _header(self, folder: Path, entry: Mapping[str, Any], may_lack: bool) -> Header:
        """What the weights file says; one whose parts have all the weights has no file of its own."""
        file = folder / WEIGHTS_FILE
        header = Header(file, {}, {}) if may_lack and not file.exists() else read_header(file)
        ties = entry.get("ties", {})
        bytes_below = sum(one.stat().st_size for one in self.root.rglob("*.safetensors")) if ties else 0
        return header._replace(elsewhere=frozenset(ties), numbers_elsewhere=bytes_below)

    def _arrays(self, cls: type, file: Path) -> dict[str, Tensor]:
        """The arrays among the arguments, of which a class of simlearn has few, and small ones."""
        if not file.is_file():
            return {}
        if is_framework(cls.__module__) and file.stat().st_size > MAX_JSON_BYTES:
            raise LoadError(f"{file} is larger than {MAX_JSON_BYTES:,} bytes, which no arguments of simlearn's are")
        return read_tensors(file)

    def _with_changes(self, component: Any, where: str, entry: Mapping[str, Any]) -> Any:
        """Set again what was set after construction."""
        changed = entry.get("changed", {})
        file = self.root / where / COMPONENT_FILE
        if not all(may_be_changed(type(component), name) for name in changed):
            raise UntrustedError(f"{file} sets {changed!r:.200}, which no saved component of that class does")
        none: dict[str, Any] = {}  # neither parts nor arrays are set after construction
        reader = ArgumentReader(none.__getitem__, none, self._resolver, file)
        for name, content in changed.items():
            value = reader.decode(content)
            if not is_plain(value):
                raise UntrustedError(f"{file} sets {name!r:.100} to {content!r:.100}, which is no number or text")
            try:
                setattr(component, name, value)
            except (TypeError, AttributeError) as error:  # as for the name of a parameter
                raise LoadError(f"{file} sets {name!r:.100} to {content!r:.100}, which cannot be: {error}") from None
        return component


_DEPTH = 50


def _inside(where: str, file: Path) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_\- ]*(/[A-Za-z0-9_][A-Za-z0-9_\- ]*)*", where):
        raise UntrustedError(f"{file} points to {where!r:.200}, outside its own folder")
    return where


def _checked(entry: dict[str, Any], file: Path) -> dict[str, Any]:
    """An entry whose ties and changes have the form that saving gives them."""
    ties, changed = entry.get("ties", {}), entry.get("changed", {})
    if not isinstance(ties, dict) or not all(_is_pair(told) for told in ties.values()):
        raise LoadError(f"{file} is damaged: its ties are {ties!r:.200}")
    if not isinstance(changed, dict):
        raise LoadError(f"{file} is damaged: it sets {changed!r:.200}")
    return entry


def _is_name(content: Any) -> bool:
    """Whether what should be a part is told in another way, such as its name."""
    is_json = content is not None and isinstance(content, (str, int, float, list, dict))
    return is_json and not (isinstance(content, dict) and content.keys() == {"$part"})


def _is_pair(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 2 and all(isinstance(one, str) for one in told)


def _is_alike(old: Tensor, tensor: Tensor) -> bool:
    """What the constructor made, of which no file had numbers, may still be of another precision."""
    is_number = old.is_floating_point() and tensor.is_floating_point()
    return old.shape == tensor.shape and (old.dtype == tensor.dtype or is_number)


def component_entries(path: str | Path) -> dict[Path, dict[str, Any]]:
    """The entry of every component below a folder, nested ones too, by its file."""
    return {file: read_entry(file) for file in sorted(Path(path).rglob(COMPONENT_FILE))}


def check_components(path: str | Path, bases: Mapping[str, type], resolver: ClassResolver) -> None:
    """Find the class of every component below a folder, nested ones too, before the first one is built.

    Args:
        path: the folder.
        bases: places below it that must hold a component, and what its class must derive from.
        resolver: which classes are trusted.

    Raises:
        LoadError: when a component is missing or damaged, or of a newer format.
        UntrustedError: for a class that the resolver does not trust, or that derives from something else.
    """
    expected = {Path(path) / place / COMPONENT_FILE: base for place, base in bases.items()}
    for file in dict.fromkeys([*expected, *sorted(Path(path).rglob(COMPONENT_FILE))]):
        entry = read_entry(file)
        if file in expected or libraries.named(entry) is None:
            resolver.resolve(entry, expected.get(file, object), file)


def load_component(path: str | Path, base: type[_Class], resolver: ClassResolver = SIMLEARN_ONLY) -> _Class:
    """Load what `save_component` wrote. The folder must have passed `check_folder`.

    Raises:
        LoadError: when it is damaged or of a newer format.
        UntrustedError: when its class is neither simlearn's nor one the resolver trusts.
        ImportError: when the component needs a package that is not installed.
    """
    loading = Loading(path, resolver)
    component = loading.load("", base)
    loading.tie()
    return component
