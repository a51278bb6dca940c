"""Components into folders: planned whole before the first file is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from simlearn.components import libraries
from simlearn.components.arguments import arguments_of
from simlearn.components.code import is_framework
from simlearn.components.layout import (
    ARRAYS_FILE,
    COMPONENT_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    check_own_saving,
    check_saved,
    defined_below,
    is_abstract,
    may_be_changed,
    overrides,
)
from simlearn.components.rebuilding import Difference, differences
from simlearn.components.resolver import check_class, class_entry
from simlearn.components.values import ArgumentWriter, as_json
from simlearn.components.weights import WEIGHTS_FILE, Place, check_kinds, check_state, own_state, write_weights
from simlearn.files import write_json, write_tensors


@dataclass
class _Planned:
    component: Any
    config: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    parts: list[Any] = field(default_factory=list)
    weights: dict[str, Tensor] | None = None
    changed: dict[str, Any] = field(default_factory=dict)
    ties: dict[str, list[str]] = field(default_factory=dict)


class Saving:
    """A plan of folders below a root. What stands at several places is saved at the first one.

    Args:
        root: the folder that holds all of them.
        components: by their places below it, as `heads/query`; the empty place is the root itself.
        itself: one of them that asks for this from its own `save`, which is then not called.
        quickly: only find out what can be found out without memory; such a plan is not written.

    Raises:
        TypeError: for what cannot be saved, naming it; nothing is written then.
        ValueError: likewise, for NaN and infinity.
    """

    def __init__(
        self, root: str | Path, components: Mapping[str, Any], itself: Any = None, *, quickly: bool = False
    ) -> None:
        self.root = Path(root)
        self._itself, self._quickly = itself, quickly
        self._places = {id(component): place for place, component in components.items()}
        self._planned: dict[str, _Planned] = {}
        self._tensors: dict[Place, tuple[str, str]] = {}
        self._memories: dict[int, tuple[str, str]] = {}
        for place in sorted(components):  # what is shared lies at the same place, whoever is named first
            self._plan(components[place], place)

    def write(self) -> None:
        """Write all folders."""
        for place, planned in self._planned.items():
            self._write(self.root / place, planned)

    def _plan(self, component: Any, place: str) -> None:
        if place in self._planned:
            return
        planned = self._planned[place] = _Planned(component)
        if libraries.of(component) is not None:
            libraries.check(component)
            if isinstance(component, nn.Module):
                self._tie(component.state_dict(keep_vars=True), place, planned)
            return
        check_class(type(component))
        if is_abstract(type(component)):
            raise TypeError(f"{type(component).__qualname__} is abstract: it leaves open {type(component).required}")
        if self._saves_itself(component):
            check_own_saving(component)
            if isinstance(component, nn.Module):
                self._tie(component.state_dict(keep_vars=True), place, planned)
            return
        if isinstance(component, nn.Module):
            check_kinds(type(component).__name__, component.state_dict())
        if hasattr(component, "check_savable"):
            component.check_savable()
        try:
            self._settings(component, place, planned)
        except RecursionError:
            raise ValueError(
                f"the arguments of {type(component).__name__} contain themselves, or nest too deep"
            ) from None
        if isinstance(component, nn.Module):
            modules = [part for part in planned.parts if isinstance(part, nn.Module)]
            state = own_state(component, modules)
            check_state(type(component).__name__, state)
            tied = self._tie(state, place, planned)
            own = {name: tensor.detach() for name, tensor in state.items() if name not in tied}
            planned.weights = own if own or not planned.parts else None

    def _saves_itself(self, component: Any) -> bool:
        return component is not self._itself and overrides(type(component), "save")

    def _settings(self, component: Any, place: str, planned: _Planned) -> None:
        """The constructor's arguments, and what they do not tell."""
        cls = type(component)
        told = arguments_of(component)
        is_own = is_framework(cls.__module__)
        if overrides(cls, "get_config_dict"):
            chosen = config = self._as_json(component)
            if not is_own:
                candidates = [config]
                if defined_below(cls, "__init__", "get_config_dict"):  # it cannot know of a subclass's arguments
                    candidates = [{**told.held, **config}, told.held]
                chosen = self._verify(component, candidates, planned, told_by_itself=True)
            own = {name: value for name, value in chosen.items() if config.get(name, _NOTHING) is value}
            planned.config = self._encoded(component, chosen, place, planned, plain=own.keys())
            return
        if told.missing:
            raise TypeError(unknown(cls, told.missing))
        chosen = told.held
        if not (is_own and overrides(cls, "fingerprint_settings")):
            chosen = self._verify(component, [told.held, told.given], planned)
        planned.config = self._encoded(component, chosen, place, planned)

    def _as_json(self, component: Any) -> dict[str, Any]:
        """What a class tells of its arguments itself, as the constructor gets it back from JSON."""
        try:
            config: dict[str, Any] = as_json(component.get_config_dict())
        except (TypeError, ValueError) as error:
            raise _no_json(component, error, _ADVICE) from error
        return config

    def _verify(
        self, component: Any, candidates: list[dict[str, Any]], planned: _Planned, *, told_by_itself: bool = False
    ) -> dict[str, Any]:
        """The arguments of which the constructor makes the same again, but for attributes that can be set later.

        What cannot be compared counts as lost, unless the class tells its arguments itself.
        """
        found: list[tuple[dict[str, Any], list[Difference]]] = []
        failure: TypeError | None = None
        for arguments in candidates:
            try:
                lost = differences(component, arguments, quickly=self._quickly)
            except TypeError as error:
                failure = failure or error
                continue
            lost = [one for one in lost if not (told_by_itself and one.is_unknown)]
            if not lost:
                return arguments
            found.append((arguments, lost))
        if not found:
            raise failure or TypeError(f"nothing tells the arguments of {type(component).__qualname__}")
        cls = type(component)
        for arguments, lost in found:
            if all(one.is_plain and not one.owner and may_be_changed(cls, one.name) for one in lost):
                planned.changed = {one.name: one.value for one in lost}
                return arguments
        one = found[0][1][0]
        path = ".".join(filter(None, (one.owner, one.name))) or "class"
        cure = "get_config_dict must return all of them" if told_by_itself else "define get_config_dict"
        raise TypeError(
            f"{cls.__qualname__} would not come back as it is: {path!r} {one.why}. Keep every argument of the "
            f"constructor as it was given, under its own name, and make the rest of them there; or {cure}, or define "
            "save and load"
        )

    def _encoded(
        self, component: Any, given: Mapping[str, Any], place: str, planned: _Planned, plain: Collection[str] = ()
    ) -> dict[str, Any]:
        """Arguments as JSON; those in `plain` are JSON already, but for parts."""

        def add_part(part: Any, name: str) -> str:
            planned.parts.append(part)
            return self._part(part, name, place)

        writer = ArgumentWriter(add_part, planned.arrays)
        try:
            config = {
                key: writer.override(value, key) if key in plain else writer.encode(value, key)
                for key, value in given.items()
            }
            planned.changed = {key: writer.encode(value, key) for key, value in planned.changed.items()}
        except (TypeError, ValueError) as error:
            if str(error).startswith(_NO_JSON):  # of a part
                raise
            raise _no_json(component, error) from error
        return config

    def _part(self, part: Any, name: str, owner: str) -> str:
        """Plan an object among the arguments; gives its place."""
        if id(part) in self._places:
            place = self._places[id(part)]
        else:
            library = libraries.of(part)
            if library is not None:
                name = library.folder
            place, number = f"{owner}/{name}".strip("/"), 2
            while place in self._planned or place in self._places.values():
                place, number = f"{owner}/{name}-{number}".strip("/"), number + 1
            self._places[id(part)] = place
        self._plan(part, place)
        return place

    def _tie(self, state: Mapping[str, Any], place: str, planned: _Planned) -> set[str]:
        """Note which tensors another component has already; gives their names.

        Raises:
            ValueError: for parameters of two components that lie in one memory and are not one.
        """
        for name, tensor in state.items():
            if not isinstance(tensor, Tensor) or not tensor.numel() or tensor.is_quantized or tensor.is_sparse:
                continue
            where = Place.of(tensor)
            first = self._tensors.setdefault(where, (place, name))
            if first[0] != place:
                planned.ties[name] = list(first)
                continue
            owner = self._memories.setdefault(where.memory, (place, name))
            if owner[0] != place and isinstance(tensor, nn.Parameter):
                raise ValueError(
                    f"{name} of {type(planned.component).__name__} ({place}) is a part of {owner[1]} ({owner[0]}), "
                    "which no file can say; share a whole parameter, or copy this one"
                )
        return set(planned.ties)

    def _write(self, folder: Path, planned: _Planned) -> None:
        component = planned.component
        folder.mkdir(parents=True, exist_ok=True)
        library = libraries.of(component)
        if library is not None:
            entry = library.write(component, folder)
        else:
            entry = class_entry(type(component))
            if self._saves_itself(component):
                component.save(str(folder))
                check_saved(component, folder)
            else:
                write_json(folder / CONFIG_FILE, planned.config)
        if planned.weights is not None:
            write_weights(planned.weights, folder / WEIGHTS_FILE)
        if planned.arrays:
            write_tensors(folder / ARRAYS_FILE, planned.arrays)
        more = {"changed": planned.changed, "ties": planned.ties}
        write_json(
            folder / COMPONENT_FILE,
            {"format_version": FORMAT_VERSION, **entry, **{key: value for key, value in more.items() if value}},
        )


_NOTHING: Any = object()
_NO_JSON = "the config of "
_ADVICE = "; get_config_dict must return numbers, strings, booleans, None, and lists and dictionaries of them"


def _no_json(component: Any, error: Exception, advice: str = "") -> Exception:
    return type(error)(f"{_NO_JSON}{type(component).__name__} cannot be JSON: {error}{advice}")


def unknown(cls: type, names: tuple[str, ...]) -> str:
    """What to say of arguments that nothing tells."""
    listed = ", ".join(map(repr, names))
    return (
        f"{cls.__qualname__} takes the arguments {listed} and keeps them under no such name, so nobody can tell what "
        f"they were; set self.{names[0]} = {names[0]} in its constructor, or define get_config_dict"
    )


def save_component(component: Any, path: str | Path) -> None:
    """Save an encoder, head or scorer with the name of its class, so that `load_component` can build it again."""
    Saving(path, {"": component}).write()
