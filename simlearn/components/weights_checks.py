"""What a file of weights holds, before anything is built, and whether what was read of it are numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simlearn.files.errors import LoadError


@dataclass(frozen=True)
class WeightSizes:
    """The sizes that the headers of safetensors files name.

    Args:
        tensors: how many there are.
        numbers: in all of them.
        largest: the longest dimension of any.
    """

    tensors: int = 0
    numbers: int = 0
    largest: int = 0

    @classmethod
    def of(cls, *files: Path) -> WeightSizes:
        """Read the headers, nothing else.

        Raises:
            LoadError: for a file that is missing, or damaged.
        """
        from safetensors import SafetensorError, safe_open

        shapes: list[list[int]] = []
        for file in files:
            try:
                with safe_open(str(file), framework="pt") as weights:
                    names = weights.keys()
                    shapes += [weights.get_slice(name).get_shape() for name in names]
            except (SafetensorError, OSError) as error:
                raise LoadError(f"{file} is no safetensors file, or a damaged one: {error}") from None
        largest = max((size for shape in shapes for size in shape), default=0)
        return cls(len(shapes), sum(map(math.prod, shapes)), largest)


def check_finite(tensors: Mapping[str, Tensor], file: str | Path) -> None:
    """Refuse weights that are no finite numbers, of which every embedding would become NaN. One pass, no copy.

    Raises:
        LoadError: naming the file and the first such tensor.
    """
    for name, tensor in tensors.items():
        if tensor.numel() == 0 or tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        plain = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
        if plain.element_size() == 1:  # torch neither adds nor compares 8-bit floats
            plain = plain.float()
        # What is not finite makes the sum so, at half the cost of a comparison; a sum of finite numbers may overflow.
        if math.isfinite(plain.sum()) or all(map(math.isfinite, torch.aminmax(plain))):
            continue
        raise LoadError(f"{file} holds NaN or infinity in {name}; train the model anew, or copy its file again")
