"""Encoders, heads and scorers as folders: settings in JSON, weights in safetensors, the class by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from simlearn.persistence.errors import LoadError
from simlearn.persistence.files import FORMAT_VERSION, read_json, read_versioned_json, write_json
from simlearn.persistence.resolver import SIMLEARN_ONLY, ClassResolver, class_entry

COMPONENT_FILE = "component.json"
WEIGHTS_FILE = "model.safetensors"

_Class = TypeVar("_Class")
_Module = TypeVar("_Module", bound=nn.Module)


def save_module(module: nn.Module, path: str | Path, config: Mapping[str, Any]) -> None:
    """Write `config.json` and the module's weights (`model.safetensors`) into a folder, which is made."""
    from safetensors.torch import save_model

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", dict(config))
    save_model(module, str(folder / WEIGHTS_FILE))


def load_module(cls: Callable[..., _Module], path: str | Path) -> _Module:
    """Build `cls(**config)` from a folder of `save_module` and fill in its weights; every weight must be there."""
    folder = Path(path)
    config = read_json(folder / "config.json")
    try:
        module = cls(**config)
    except (TypeError, ValueError) as error:
        raise LoadError(f"{folder / 'config.json'} does not fit {getattr(cls, '__name__', cls)}: {error}") from error
    load_weights(module, folder / WEIGHTS_FILE)
    return module


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill a module's weights from a safetensors file, strictly."""
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    if not Path(path).is_file():
        raise LoadError(f"{path} is missing")
    try:
        load_model(module, str(path), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise LoadError(f"{path} does not hold the weights of {type(module).__name__}: {error}") from error


def save_component(component: Any, path: str | Path) -> None:
    """Save an encoder, head or scorer with the name of its class, so that `load_component` can build it again."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    component.save(str(folder))
    write_json(folder / COMPONENT_FILE, {"format_version": FORMAT_VERSION, **class_entry(type(component))})


def load_component(path: str | Path, base: type[_Class], resolver: ClassResolver = SIMLEARN_ONLY) -> _Class:
    """Load what `save_component` wrote. The folder must have passed `check_folder`.

    Raises:
        LoadError: when it is damaged or of a newer format.
        UntrustedError: when its class is neither simlearn's nor one the resolver trusts.
    """
    entry = read_versioned_json(Path(path) / COMPONENT_FILE, "component")
    cls: Any = resolver.resolve(entry, base)
    component = cls.load_with(str(path), resolver)
    if not isinstance(component, base):
        raise LoadError(f"{cls.__name__}.load returned a {type(component).__name__}, not a {base.__name__}")
    return component
