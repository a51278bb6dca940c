"""A score and the place of its document among equals in one integer, so that one comparison settles both.

The upper half of a key holds the float32 score, its bits turned so that integers sort as the floats do; the lower half
holds the place, turned so that the smaller one wins. All keys differ, hence the k largest are the same whichever way
they are found: in what tiles, in what order, by a sort or by a selection.
"""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DOCUMENTS = 2**32 - 1
"""How many documents the lower half can tell apart."""

_MAGNITUDE = 0x7FFFFFFF


def pack(scores: Tensor, places: Tensor) -> Tensor:
    """Keys int64 of float32 scores, none of them NaN, and int64 places from 0 to `MAX_DOCUMENTS`, exclusive."""
    bits = (scores + 0.0).view(torch.int32)  # -0.0 + 0.0 is 0.0: the two are equal and must tie
    return (_turn(bits).long() << 32) + (MAX_DOCUMENTS - places)


def unpack_scores(keys: Tensor) -> Tensor:
    """The scores that `pack` took."""
    return _turn((keys >> 32).int()).view(torch.float32)


def unpack_places(keys: Tensor) -> Tensor:
    """The places that `pack` took."""
    return MAX_DOCUMENTS - (keys & MAX_DOCUMENTS)


def _turn(bits: Tensor) -> Tensor:
    """Negative floats grow with their magnitude bits, when read as integers; turned over they fall. Its own inverse."""
    return torch.where(bits < 0, bits ^ _MAGNITUDE, bits)


NOTHING = int(pack(torch.tensor(-torch.inf), torch.tensor(MAX_DOCUMENTS)))
"""The key of no document: it scores -inf and loses against every other."""
