"""In which precision numbers are computed and added up, whatever they are kept in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_single(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: at least fp32.

    In half precision logits lie on a grid as coarse as a loss itself, and thousands of terms drown each other.

    >>> at_least_single(torch.ones(2, dtype=torch.float16))
    torch.float32
    >>> at_least_single(torch.ones(2), torch.ones(2, dtype=torch.float64))
    torch.float64
    """
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def double_on(device: torch.device) -> torch.dtype:
    """The dtype to count and add up many numbers in: single precision cannot count beyond 2**24. Apple's has no other.

    >>> double_on(torch.device("cpu"))
    torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64
