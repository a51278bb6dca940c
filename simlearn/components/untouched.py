"""A constructor is called once more and nothing of what it is given, nor of what is random, is changed by it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from simlearn.components.code import is_library


def copied(value: Any) -> Any:
    """Lists, dictionaries and sets of one's own, with the same things in them: a constructor may add to them."""
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(copied, value))
    return set(value) if type(value) is set else value


@contextmanager
def untouched(arguments: Iterable[Any]) -> Iterator[None]:
    """Keep random states, and what modules and tensors among the arguments are, whatever a constructor does to them.

    One that freezes its module, registers a hook on it, or initialises a layer that it was given does so again when it
    is called again, and would leave a trained layer as it was in the beginning.
    """
    found = list(_held(arguments, set()))
    modules = [inner for one in found if isinstance(one, nn.Module) for inner in one.modules()]
    tensors = [one for one in found if isinstance(one, Tensor)]
    tensors += [
        tensor
        for one in modules
        for kind in (one._parameters, one._buffers)
        for tensor in kind.values()
        if tensor is not None
    ]
    before = [(one, {name: (value, _content(value)) for name, value in vars(one).items()}) for one in modules]
    states = [(tensor, tensor.data, tensor.requires_grad) for tensor in tensors]
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 the global one
    is_on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if is_on_gpu else []
    try:
        with torch.random.fork_rng(devices), ReadOnly(tensors):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        for module, attributes in before:
            vars(module).clear()
            for name, (value, content) in attributes.items():
                _restore(value, content)
                vars(module)[name] = value
        for tensor, data, wants_gradient in states:
            if _memory(tensor) != _memory(data):
                tensor.data = data
            if tensor.is_leaf and tensor.requires_grad != wants_gradient:
                tensor.requires_grad_(wants_gradient)


class ReadOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Leaves out what would write into the memory of some tensors.

    Args:
        tensors: which.
    """

    def __init__(self, tensors: Iterable[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memories = {_memory(one) for one in tensors if isinstance(one, Tensor)} - {None}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            target = args[place] if place < len(args) else (kwargs or {}).get(argument.name)
            if isinstance(target, Tensor) and _memory(target) in self._memories:
                return target
        return func(*args, **(kwargs or {}))


def _memory(tensor: Tensor) -> int | None:
    if tensor.is_meta or tensor.layout is not torch.strided or not tensor.numel():
        return None
    return tensor.untyped_storage().data_ptr()


def _held(values: Iterable[Any], seen: set[int]) -> Iterator[Any]:
    """Modules and tensors, also in containers and objects of one's own."""
    for value in values:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (nn.Module, Tensor)):
            yield value
        elif isinstance(value, Mapping):
            yield from _held(list(value.values()), seen)
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield from _held(value, seen)
        elif hasattr(value, "__dict__") and not isinstance(value, type) and not is_library(type(value).__module__):
            yield from _held(list(vars(value).values()), seen)


def _content(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list, set)) else None


def _restore(value: Any, content: Any) -> None:
    if content is None:
        return
    value.clear()
    value.extend(content) if isinstance(value, list) else value.update(content)
