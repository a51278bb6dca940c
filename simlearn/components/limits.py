"""No more is built than the weights beside it have: a constructor believes whatever settings ask for."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from simlearn.files import LoadError


@contextmanager
def limited(folder: Path, *, tensors: int, modules: int, numbers: float = math.inf) -> Iterator[None]:
    """Let constructors of this thread register so much, whatever their settings call it.

    Args:
        folder: what is loaded, for the error.
        tensors: parameters and buffers.
        modules: modules within modules.
        numbers: in the tensors; they are not limited where there is no memory behind them.

    Raises:
        LoadError: at the first thing too many, and also where a constructor took that error for something else.
    """
    left: dict[str, float] = {"tensors": tensors, "modules": modules, "numbers": numbers}
    seen: dict[tuple[int, str], Any] = {}  # a tensor comes again when its place on the meta device is filled
    thread = threading.get_ident()

    def refused(what: str) -> LoadError:
        return LoadError(f"{folder} cannot be loaded: its settings ask for more {what} than go with its weights")

    def count(module: nn.Module, name: str, added: Any) -> None:
        if threading.get_ident() != thread or added is None or seen.setdefault((id(module), name), added) is not added:
            return
        taken = {"modules": 1} if isinstance(added, nn.Module) else {"tensors": 1, "numbers": added.numel()}
        for what, size in taken.items():
            left[what] -= size
            if left[what] < 0:
                raise refused(what)

    hooks = [
        register(count)
        for register in (
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
            register_module_module_registration_hook,
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if over := [what for what, count_left in left.items() if count_left < 0]:
            raise refused(over[0])
