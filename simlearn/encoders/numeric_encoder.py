"""Numbers as vectors: brought to one scale, with a mark for what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from simlearn.encoders.encoder import CollateFn, Encoder

_KNOTS = 129
"""Of a quantile transform: a number's place among the training data is known to less than a hundredth."""


class NumericEncoder(Encoder):
    """Numbers of an object, such as price and weight: K numbers, then K marks of which are missing.

    A missing number (None, NaN or an empty text) is 0, the middle of the others, with its mark at 1. What scales them
    is found by `fit` on the training data, and saved. There is nothing to train::

        NumericEncoder(["price", "weight"], transform="log").fit(products)

    Args:
        names: the fields or attributes; with one name, an object may be the number itself.
        transform: "standard": less the mean, over the standard deviation. "log": the same of sign(x) log(1 + abs(x)),
            for sizes and prices. "quantile": the share of the training data below it, from -1 to 1, whatever their
            distribution.

    Raises:
        ValueError: without names, for names that repeat, and for an unknown transform.
    """

    def __init__(self, names: Sequence[str], transform: Literal["standard", "log", "quantile"] = "standard") -> None:
        super().__init__()
        self.names = [names] if isinstance(names, str) else list(names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names must be one or more fields, each once, got {self.names}")
        if transform not in ("standard", "log", "quantile"):
            raise ValueError(f"transform must be 'standard', 'log' or 'quantile', got {transform!r}")
        self.transform = transform
        count = len(self.names)
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(count, dtype=torch.float64))
        self.register_buffer("knots", torch.zeros(count, _KNOTS if transform == "quantile" else 0, dtype=torch.float64))

    is_fitted: Tensor
    mean: Tensor
    deviation: Tensor
    knots: Tensor

    @property
    def trainable(self) -> bool:
        """False: what scales the numbers is no weight."""
        return False

    @property
    def embedding_size(self) -> int:
        """2 K."""
        return 2 * len(self.names)

    def fit(self, objects: Iterable[Any]) -> NumericEncoder:
        """Find the scale of the numbers of N objects; gives the encoder itself.

        Raises:
            ValueError: for no objects, and for a field that all of them lack.
        """
        rows = self.get_collate_fn()(list(objects))
        missing = [name for name, column in zip(self.names, rows.T, strict=True) if bool(column.isnan().all())]
        if missing:
            raise ValueError(f"no object has the number {', '.join(missing)}, so it has no scale; leave it out")
        for place, column in enumerate(rows.T):
            known = self._unscaled(column[~column.isnan()])
            deviation = float(known.std(correction=0))
            self.mean[place] = known.mean()
            self.deviation[place] = deviation if deviation > 0 else 1.0
            if self.transform == "quantile":
                self.knots[place] = torch.from_numpy(np.quantile(known.numpy(), np.linspace(0, 1, _KNOTS)))
        self.is_fitted.fill_(True)
        return self

    def get_collate_fn(self) -> CollateFn:
        """From N objects to numbers (N, K) float64, NaN where one is missing."""
        return _CollateNumbers(tuple(self.names))

    def forward(self, batch: Tensor) -> Tensor:
        """(N, 2 K) float32.

        Raises:
            RuntimeError: before `fit`.
        """
        if not bool(self.is_fitted):
            raise RuntimeError("NumericEncoder does not know the scale of its numbers; call its fit(objects) first")
        missing = batch.isnan()
        values = self._unscaled(batch.double())
        scaled = self._quantiles(values) if self.transform == "quantile" else (values - self.mean) / self.deviation
        return torch.cat([scaled.masked_fill(missing, 0.0), missing.to(scaled.dtype)], dim=1).float()

    def _unscaled(self, values: Tensor) -> Tensor:
        return values.sign() * values.abs().log1p() if self.transform == "log" else values

    def _quantiles(self, values: Tensor) -> Tensor:
        """The share of the training data below each value, from -1 to 1; the middle of several knots of one value."""
        columns = values.T.contiguous()
        below = torch.searchsorted(self.knots, columns, right=False).clamp(1, _KNOTS - 1)
        low, high = self.knots.gather(1, below - 1), self.knots.gather(1, below)
        width = high - low
        part = torch.where(width > 0, (columns - low) / width, torch.ones_like(width)).clamp(0, 1)
        first = below - 1 + part
        ties = (torch.searchsorted(self.knots, columns, right=True) - 1).clamp(0, _KNOTS - 1)
        place = torch.where(ties > first, (first + ties) / 2, first)
        return (2 * place / (_KNOTS - 1) - 1).T


@dataclass(frozen=True)
class _CollateNumbers:
    names: tuple[str, ...]

    def __call__(self, objects: list[Any]) -> Tensor:
        rows = [[self._number(obj, name) for name in self.names] for obj in objects]
        return torch.tensor(rows, dtype=torch.float64).reshape(len(objects), len(self.names))

    def _number(self, obj: Any, name: str) -> float:
        value = obj
        if isinstance(obj, Mapping):
            if name not in obj:
                raise KeyError(f"the object has no field {name!r}, only {sorted(map(str, obj))}")
            value = obj[name]
        elif hasattr(obj, name):
            value = getattr(obj, name)
        elif len(self.names) > 1:
            raise KeyError(f"a {type(obj).__name__} has no field {name!r}; NumericEncoder reads mappings or attributes")
        if value is None or (isinstance(value, str) and not value.strip()):
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.inf
        if math.isinf(number):
            raise ValueError(f"{name} must be a finite number, or None where it is missing, got {value!r:.80}")
        return number
