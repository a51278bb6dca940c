"""Chance that depends on numbers alone, not on who draws it: of tensors, on any device, alike in every process."""

from __future__ import annotations

from torch import Tensor


def mixed(values: Tensor, *numbers: int) -> Tensor:
    """64 well mixed bits of each value (splitmix64: Steele et al. 2014), others for other numbers.

    Args:
        values: int64 of any shape.
        numbers: seeds, of any size.

    Returns:
        int64 of the same shape, below 0 as often as not.
    """
    for number in numbers or (0,):
        # Python's integers do not wrap, torch's do.
        step = (number * 0x9E3779B97F4A7C15 + 2**63) % 2**64 - 2**63
        values = _finalised(values + step)
    return values


def _finalised(values: Tensor) -> Tensor:
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        values = (values ^ (values >> shift & (2 ** (64 - shift) - 1))) * factor
    return values ^ (values >> 31 & 2**33 - 1)
