"""Modules are built without memory before their sizes were compared with a file.

A constructor may be asked for any size. So it runs on torch's meta device, where tensors have shapes and no memory, and
may register few more tensors than the file has; then the shapes are compared with the file's header, and only then is
memory taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from simlearn.components.limits import limited
from simlearn.components.state import INTERNALS
from simlearn.components.untouched import ReadOnly
from simlearn.components.weights import (
    WEIGHTS_FILE,
    Header,
    check_state,
    compare,
    fill,
    own_state,
    read_header,
    write_weights,
)
from simlearn.files import LoadError, read_json, write_json

_Built = TypeVar("_Built")

_SPARE_TENSORS, _MODULES_WITHOUT_TENSORS, _SPARE_NUMBERS = 1_000, 10_000, 10_000_000
"""What a component may make besides: layers that it throws away; dropouts and activations. A file may ask for 10^9."""


def build_with_weights(make: Callable[[], _Built], header: Header, given: Collection[nn.Module] = ()) -> _Built:
    """Call the constructor of a module and fill in the weights of a file, strictly, in the dtypes of the file.

    Args:
        make: makes the module.
        header: of the file.
        given: modules that stand in it and have their weights already.

    Raises:
        LoadError: when the weights are missing, damaged, or not the module's.
    """
    held = [parameter.numel() for one in given for parameter in one.parameters()]
    tensors = len(header.shapes) + len(header.tied) + len(header.elsewhere) + len(held)
    numbers = sum(map(math.prod, header.shapes.values())) + sum(held) + header.numbers_elsewhere
    folder = header.path.parent
    # A constructor may initialise the modules that it is given, which have their weights already.
    with ReadOnly(tensor for one in given for tensor in one.state_dict(keep_vars=True).values()):
        with beside(folder, tensors), torch.device("meta"):
            built = _made(make)
        if built is None or not _is_whole(built, header, given):
            with beside(folder, tensors, numbers):
                built = make()
    if isinstance(built, nn.Module):
        fill(built, header, given)
    return built


def beside(folder: Path, tensors: int, numbers: float = math.inf) -> AbstractContextManager[None]:
    """Let constructors register few more tensors than a file has, of so many numbers, and some modules without."""
    return limited(
        folder,
        tensors=4 * tensors + _SPARE_TENSORS,
        modules=4 * tensors + _MODULES_WITHOUT_TENSORS,
        numbers=4 * numbers + _SPARE_NUMBERS,
    )


def _made(make: Callable[[], _Built]) -> _Built | None:
    """What a constructor makes; None where it does not work without memory, as one that reads values of tensors."""
    try:
        return make()
    except (LoadError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None


def _is_whole(built: Any, header: Header, given: Collection[nn.Module]) -> bool:
    """Whether weights are all that a module without memory lacks. Its shapes are compared with the file first."""
    if not isinstance(built, nn.Module):
        return True
    compare(built, header, given)
    filled = {id(tensor) for tensor in own_state(built, given).values()}
    others = {id(inner) for one in given for inner in one.modules()}
    for module in built.modules():
        if id(module) in others:
            continue
        held = [value for name, value in vars(module).items() if name not in INTERNALS]
        held += [*module._parameters.values(), *module._buffers.values()]
        if any(id(one) not in filled and _holds_meta(one) for one in held):
            return False
    return True


def _holds_meta(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_meta
    if isinstance(value, Mapping):
        return any(map(_holds_meta, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_holds_meta, value))


def save_module(module: nn.Module, path: str | Path, config: Mapping[str, Any]) -> None:
    """Write `config.json` and the module's weights (`model.safetensors`) into a folder, which is made.

    A weight that the module has under several names is stored once.

    Raises:
        TypeError: when JSON cannot hold the config, or the module keeps more than tensors in its state.
        ValueError: for NaN or infinity in the config.
    """
    folder = Path(path)
    state = module.state_dict()
    check_state(type(module).__name__, state)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.json", dict(config), type(module).__name__)
    write_weights(state, folder / WEIGHTS_FILE)


def write_config(path: Path, config: Mapping[str, Any], owner: str) -> None:
    """Write a config, or say whose it is that JSON cannot hold."""
    try:
        write_json(path, config)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"the config of {owner} cannot be JSON: {error}; get_config_dict must return numbers, "
            "strings, booleans, None, and lists and dictionaries of them"
        ) from error


def load_module(cls: Callable[..., Any], path: str | Path) -> Any:
    """Build `cls(**config)` from a folder of `save_module` and fill in its weights; every weight must be there."""
    file = Path(path) / "config.json"
    config = read_json(file)
    return build_with_weights(fitting(lambda: cls(**config), cls, file), read_header(Path(path) / WEIGHTS_FILE))


def fitting(make: Callable[[], _Built], cls: Any, file: Path) -> Callable[[], _Built]:
    """A constructor that raises LoadError for whatever it raises about settings it was never meant to see."""

    def made() -> _Built:
        try:
            return make()
        except (LoadError, ImportError):
            raise
        except Exception as error:
            raise LoadError(f"{file} does not fit {getattr(cls, '__name__', cls)}: {error}") from error

    return made
