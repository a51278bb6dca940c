"""Encoders, heads and scorers as folders: settings in JSON, weights in safetensors, the class by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from simlearn.components.resolver import SIMLEARN_ONLY, ClassResolver, class_entry
from simlearn.files.errors import LoadError
from simlearn.files.json_files import FORMAT_VERSION, read_json, read_versioned_json, write_json

COMPONENT_FILE = "component.json"
WEIGHTS_FILE = "model.safetensors"

_Class = TypeVar("_Class")
_Module = TypeVar("_Module", bound=nn.Module)


def save_module(module: nn.Module, path: str | Path, config: Mapping[str, Any]) -> None:
    """Write `config.json` and the module's weights (`model.safetensors`) into a folder, which is made.

    A weight that the module has under several names is stored once.

    Raises:
        TypeError: when JSON cannot hold the config, or the module keeps more than tensors in its state.
        ValueError: for NaN or infinity in the config.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_json(folder / "config.json", dict(config))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"the config of {type(module).__name__} cannot be JSON: {error}; get_config_dict must return numbers, "
            "strings, booleans, None, and lists and dictionaries of them"
        ) from error
    _save_weights(module, folder / WEIGHTS_FILE)


def _save_weights(module: nn.Module, path: Path) -> None:
    """The state as safetensors; the file's metadata says which further names a tensor has."""
    from safetensors.torch import save_file

    names: dict[tuple[object, ...], str] = {}
    weights: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    memories: set[int] = set()
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{type(module).__name__} keeps {name!r} in its state, a {type(tensor).__name__} and no tensor; let "
                "get_config_dict return it, or override save and load"
            )
        memory = tensor.untyped_storage()
        place = (memory.data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        first = names.setdefault(place, name) if tensor.numel() else name
        if first != name:
            tied[name] = first
            continue
        # safetensors refuses tensors that lie in one another's memory.
        is_alone = tensor.is_contiguous() and memory.nbytes() == tensor.nbytes and memory.data_ptr() not in memories
        weights[name] = tensor if is_alone else tensor.clone(memory_format=torch.contiguous_format)
        memories.add(memory.data_ptr())
    save_file(weights, path, metadata=tied or None)  # safetensors cannot read an empty one back


def load_module(cls: Callable[..., _Module], path: str | Path) -> _Module:
    """Build `cls(**config)` from a folder of `save_module` and fill in its weights; every weight must be there."""
    folder = Path(path)
    config = read_json(folder / "config.json")
    try:
        module = cls(**config)
    except Exception as error:  # a constructor may raise anything about settings it was never meant to see
        raise LoadError(f"{folder / 'config.json'} does not fit {getattr(cls, '__name__', cls)}: {error}") from error
    load_weights(module, folder / WEIGHTS_FILE)
    return module


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill a module's weights from a safetensors file, strictly. The module takes the dtypes of the file."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise LoadError(f"{path} is missing")
    try:
        with safe_open(str(path), framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
            tied = file.metadata() or {}
        weights |= {name: weights[first] for name, first in tied.items() if first in weights and name not in weights}
        _take_form(module, weights)
        module.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise LoadError(f"{path} does not hold the weights of {type(module).__name__}: {error}") from error


def _take_form(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give the module the dtypes of the weights: copying alone would widen half precision to torch's default dtype.

    Raises:
        RuntimeError: where the weights have other kinds of numbers, or two values for what the module has once.
    """
    names: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name not in weights:
            continue
        if weights[name].dtype != tensor.dtype:
            if not (weights[name].is_floating_point() and tensor.is_floating_point()):
                raise RuntimeError(f"{name} is {weights[name].dtype} instead of {tensor.dtype}")
            tensor.data = tensor.data.to(weights[name].dtype)
        first = names.setdefault(id(tensor), name)
        if weights[first] is not weights[name] and not torch.equal(weights[first], weights[name]):
            raise RuntimeError(f"the module ties {first} and {name}, which differ in the file")


def save_component(component: Any, path: str | Path) -> None:
    """Save an encoder, head or scorer with the name of its class, so that `load_component` can build it again."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    component.save(str(folder))
    write_json(folder / COMPONENT_FILE, {"format_version": FORMAT_VERSION, **class_entry(type(component))})


def component_entries(path: str | Path) -> dict[Path, dict[str, Any]]:
    """The entry of every component below a folder, nested ones too, by its file."""
    return {file: read_versioned_json(file, "component") for file in sorted(Path(path).rglob(COMPONENT_FILE))}


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
        resolver.resolve(read_versioned_json(file, "component"), expected.get(file, object), file)


def load_component(path: str | Path, base: type[_Class], resolver: ClassResolver = SIMLEARN_ONLY) -> _Class:
    """Load what `save_component` wrote. The folder must have passed `check_folder`.

    Raises:
        LoadError: when it is damaged or of a newer format.
        UntrustedError: when its class is neither simlearn's nor one the resolver trusts.
        ImportError: when the component needs a package that is not installed.
    """
    file = Path(path) / COMPONENT_FILE
    cls: Any = resolver.resolve(read_versioned_json(file, "component"), base, file)
    try:
        component = cls.load_with(str(path), resolver)
    except (LoadError, ImportError):
        raise
    except Exception as error:
        raise LoadError(f"{path} cannot be loaded as {cls.__name__}: {type(error).__name__} {error}") from error
    if not isinstance(component, base):
        raise LoadError(f"{cls.__name__}.load returned a {type(component).__name__}, not a {base.__name__}")
    return component
