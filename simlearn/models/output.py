"""What is done to vectors after the head, when somebody asks for it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def finished(values: Tensor, *, normalize: bool, truncate_dim: int | None) -> Tensor:
    """Vectors (..., D), cut to their first `truncate_dim` values and then brought to unit length, in their dtype.

    Raises:
        ValueError: for a `truncate_dim` outside [1, D].
    """
    if truncate_dim is not None:
        if not 1 <= truncate_dim <= values.shape[-1]:
            raise ValueError(f"truncate_dim must be in [1, {values.shape[-1]}], got {truncate_dim}")
        values = values[..., :truncate_dim]
    if normalize:
        wide = values if values.dtype is torch.float64 else values.float()
        values = F.normalize(wide, dim=-1).to(values.dtype)
    return values
