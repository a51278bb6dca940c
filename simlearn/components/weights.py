"""Tensors of modules as safetensors files, compared by name, shape and kind before memory is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from simlearn.files import LoadError, write_tensors

WEIGHTS_FILE = "model.safetensors"


class Place(NamedTuple):
    """Where in memory a tensor lies; two of one place are one tensor."""

    memory: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @staticmethod
    def of(tensor: Tensor) -> Place:
        """The place of a tensor."""
        memory = tensor.untyped_storage().data_ptr()
        return Place(memory, int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), tensor.dtype)


def check_state(owner: str, state: Mapping[str, Any]) -> None:
    """Refuse a state that safetensors cannot hold, or that no model should be served with.

    Raises:
        TypeError: for more than tensors, and for quantised ones.
        ValueError: for NaN.
    """
    check_kinds(owner, state)
    for name, tensor in state.items():
        if holds_nan(tensor):
            raise ValueError(f"{name} of {owner} holds NaN: training has diverged; nothing is saved")


def check_kinds(owner: str, state: Mapping[str, Any]) -> None:
    """Refuse a state that safetensors cannot hold.

    Raises:
        TypeError: for more than tensors, and for quantised ones.
    """
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            if "_packed_params" in name:
                raise TypeError(_QUANTISED.format(owner=owner, name=name))
            raise TypeError(
                f"{owner} keeps {name!r} in its state, a {type(tensor).__name__} and no tensor; keep it in an argument "
                "of the constructor, or override save and load"
            )
        if tensor.is_quantized:
            raise TypeError(_QUANTISED.format(owner=owner, name=name))
        if tensor.layout is not torch.strided:
            raise TypeError(
                f"{owner} keeps {name!r} as a sparse tensor, which safetensors does not hold; make it dense"
            )
        if tensor.is_meta:
            raise TypeError(f"{owner} keeps {name!r} on the meta device, where it has no numbers; give it some")
        if tensor.dtype in (torch.complex128, torch.complex32):
            raise TypeError(f"{owner} keeps {name!r} as {tensor.dtype}, which safetensors does not hold; use complex64")


def holds_nan(tensor: Tensor) -> bool:
    """Whether any number of a tensor is none. What is not finite makes the sum so, at an eighth of a comparison."""
    if tensor.is_meta or not tensor.numel() or not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    plain = tensor.detach().float() if tensor.element_size() == 1 else tensor.detach()  # torch adds no 8-bit floats
    return not bool(plain.sum().isfinite()) and bool(plain.isnan().any())


def refuse_nan(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Refuse weights that are no numbers, of which every embedding would become NaN.

    Raises:
        LoadError: naming the file and the first such tensor.
    """
    for name, tensor in tensors.items():
        if holds_nan(tensor):
            raise LoadError(f"{file} holds NaN in {name}; train the model anew, or copy its file again")


_QUANTISED = (
    "{owner} is quantised: {name!r} holds packed integers, which safetensors does not hold; save the model before it "
    "is quantised, and quantise it again after loading"
)


def write_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """A state as safetensors; the file's metadata says which further names a tensor has."""
    names: dict[Place, str] = {}
    weights: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    memories: set[int] = set()
    for name, tensor in state.items():
        first = names.setdefault(Place.of(tensor), name) if tensor.numel() else name
        if first != name:
            tied[name] = first
            continue
        memory = tensor.untyped_storage()
        # safetensors refuses tensors that lie in one another's memory.
        is_alone = tensor.is_contiguous() and memory.nbytes() == tensor.nbytes and memory.data_ptr() not in memories
        weights[name] = tensor if is_alone else tensor.clone(memory_format=torch.contiguous_format)
        memories.add(memory.data_ptr())
    write_tensors(path, weights, tied or None)  # safetensors cannot read an empty one back


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Fill a module's weights from a safetensors file, strictly. The module takes the dtypes of the file."""
    fill(module, read_header(Path(path)))


class Header(NamedTuple):
    """What a weights file says it holds.

    Args:
        path: the file.
        shapes: of its tensors, by name.
        tied: further names of tensors.
        elsewhere: names of the module whose tensors are another component's.
        prefix: what the module's names have before those of the file.
        numbers_elsewhere: how many numbers those tensors may have.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    tied: dict[str, str]
    elsewhere: frozenset[str] = frozenset()
    prefix: str = ""
    numbers_elsewhere: int = 0

    def named(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors of the file, or their shapes, by the names that the module has for them."""
        found = {f"{self.prefix}{name}": tensor for name, tensor in tensors.items()}
        ties = {f"{self.prefix}{name}": f"{self.prefix}{first}" for name, first in self.tied.items()}
        return found | {name: found[first] for name, first in ties.items() if first in found and name not in found}


def read_header(path: Path) -> Header:
    """Read what a weights file holds, without reading it.

    Raises:
        LoadError: when it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise LoadError(f"{path} is missing")
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            return Header(path, shapes, file.metadata() or {})
    except SafetensorError as error:
        raise LoadError(f"{path} does not hold weights: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        LoadError: when it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    header = read_header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in header.shapes}
    except SafetensorError as error:
        raise LoadError(f"{path} does not hold weights: {error}") from error


def own_state(module: nn.Module, given: Iterable[nn.Module]) -> dict[str, Any]:
    """The state of a module without that of some modules within it."""
    others = {id(inner) for one in given for inner in one.modules()}
    within = module.named_modules(remove_duplicate=False)
    prefixes = tuple(f"{name}." for name, one in within if name and id(one) in others)
    return {name: value for name, value in module.state_dict(keep_vars=True).items() if not name.startswith(prefixes)}


def compare(module: nn.Module, header: Header, given: Iterable[nn.Module] = ()) -> dict[str, Tensor]:
    """Compare names and shapes of a module's state with a file's.

    Returns:
        The module's tensors that the file holds, by name.

    Raises:
        LoadError: naming the first differences.
    """
    state = {name: value for name, value in own_state(module, given).items() if name not in header.elsewhere}
    wanted = {name: tuple(value.shape) if isinstance(value, Tensor) else None for name, value in state.items()}
    found = header.named(header.shapes)
    faults = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    faults += [f"{name} belongs to nothing" for name in found.keys() - wanted.keys()]
    shared = wanted.keys() & found.keys()
    faults += [f"{name} is {found[name]} instead of {wanted[name]}" for name in shared if found[name] != wanted[name]]
    if faults:
        raise misfit(module, header, "; ".join(sorted(faults)[:5]))
    return state


def misfit(module: nn.Module, header: Header, why: object) -> LoadError:
    """What to raise for weights that are not the module's."""
    return LoadError(f"{header.path} does not hold the weights of {type(module).__name__}: {why}")


def fill(module: nn.Module, header: Header, given: Iterable[nn.Module] = ()) -> None:
    """Fill in the weights of a file, strictly.

    Args:
        module: with or without memory.
        header: of the file.
        given: modules within it that have their weights already.

    Raises:
        LoadError: for weights of other names, shapes or kinds of numbers, and for NaN.
    """
    state = compare(module, header, given)
    weights = header.named(read_tensors(header.path)) if header.shapes else {}
    refuse_nan(weights, header.path)
    filled: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in state.items():
        _take(module, header, name, tensor, weights[name], filled)


def _take(
    module: nn.Module, header: Header, name: str, tensor: Tensor, weight: Tensor, filled: dict[int, tuple[str, Tensor]]
) -> None:
    """Put a weight in the place of a tensor, in the dtype of the weight; what is tied stays tied."""
    if id(tensor) in filled:
        first, known = filled[id(tensor)]
        if not torch.equal(weight, known):
            raise misfit(module, header, f"the module ties {first} and {name}, which differ in the file")
    else:
        if weight.dtype != tensor.dtype and not (weight.is_floating_point() and tensor.is_floating_point()):
            raise misfit(module, header, f"{name} is {weight.dtype} instead of {tensor.dtype}")
        if not tensor.is_meta:  # in its own memory, which views and optimisers may know
            tensor.data = tensor.data.to(weight.dtype)
            tensor.data.copy_(weight)
            known = tensor
        else:
            known = nn.Parameter(weight, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else weight
        filled[id(tensor)] = name, known
    if tensor.is_meta:
        owner, _, last = name.rpartition(".")
        place(module.get_submodule(owner), last, known)


def place(owner: nn.Module, name: str, tensor: Tensor) -> None:
    """Make a tensor the parameter or buffer of a name."""
    places: dict[str, Any] = owner._parameters if name in owner._parameters else owner._buffers
    places[name] = tensor
