"""What documents were made of, kept beside a cache where it cannot be read again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class KeptFeatures(nn.Module):
    """The features of the documents of a `NegativeCache`, row by row, on the CPU and part of the state.

    They are kept beside the cache::

        kept = KeptFeatures(cache.size, {"input_ids": (64, torch.int32)})
        rows = cache.insert(documents, ids)
        kept.put(rows, {"input_ids": input_ids})
        again = lambda rows: encoder(kept.take(rows, device))

    Args:
        size: of the cache.
        specs: for each feature by name its length and dtype.

    Raises:
        ValueError: for a size or length below 1, and no features.
    """

    def __init__(self, size: int, specs: Mapping[str, tuple[int, torch.dtype]]) -> None:
        super().__init__()
        if size < 1 or not specs or any(length < 1 for length, _ in specs.values()):
            raise ValueError(f"size and the length of each feature must be at least 1, got {size} and {dict(specs)}")
        self.specs = dict(specs)
        self.kept = {name: torch.zeros(size, length, dtype=dtype) for name, (length, dtype) in specs.items()}

    def put(self, rows: Tensor, features: Mapping[str, Tensor]) -> None:
        """Keep the features (M, at most length) of documents that went to these rows (M,); shorter ones end in zeros.

        Raises:
            ValueError: for other features than those that were named, and longer ones.
        """
        if features.keys() != self.kept.keys():
            raise ValueError(f"features must be {sorted(self.kept)}, got {sorted(features)}")
        rows = rows.cpu()
        kept = rows >= 0
        for name, values in features.items():
            length, dtype = self.specs[name]
            if values.ndim != 2 or len(values) != len(rows) or values.shape[1] > length:
                raise ValueError(
                    f"feature {name!r} must be ({len(rows)}, at most {length}), got {tuple(values.shape)}; cut it, or "
                    "keep more"
                )
            padded = torch.zeros(len(rows), length, dtype=dtype)
            padded[:, : values.shape[1]] = values.cpu()
            self.kept[name][rows[kept]] = padded[kept]

    def take(self, rows: Tensor, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The features (n, length) of some rows (n,)."""
        return {name: values[rows.cpu()].to(device) for name, values in self.kept.items()}

    def get_extra_state(self) -> dict[str, Tensor]:
        """The features; they stay on the CPU where the model goes."""
        return dict(self.kept)

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """See `get_extra_state`."""
        for name, values in state.items():
            self.kept[name].copy_(values)
