"""Files as arrays and tensors that are mapped into memory: what is not read takes none."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.files.errors import LoadError, unreadable


def map_array(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, cure: str, at_random: bool = False
) -> NDArray[Any]:
    """The beginning of a file as an array that cannot be written to.

    Args:
        path: the file; it may be longer.
        dtype: of its numbers.
        shape: how many there are.
        cure: what helps when the file is not whole, for the message.
        at_random: tell the system not to read ahead.

    Raises:
        LoadError: when the file is missing or shorter, or may not be read.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if not size:  # no system maps nothing
        return np.empty(shape, dtype)
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise LoadError(f"{path} is missing; {cure}") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError:
        raise LoadError(f"{path} has {path.stat().st_size} bytes, {size} were committed; {cure}") from None
    if at_random and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype).reshape(shape)


def tensor_over(array: NDArray[Any]) -> Tensor:
    """A tensor over the memory of an array. It must only be read: the memory may be protected."""
    with warnings.catch_warnings():
        # A private writable mapping would not warn, but the system may refuse one that is larger than its memory.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(array)
