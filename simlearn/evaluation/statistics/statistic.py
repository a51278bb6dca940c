"""What a figure is made of, so that it can be computed again for any resample of what was evaluated.

Resampling means weighing: a bootstrap resample of U units counts each of them 0, 1, 2 ... times. A `Statistic` gives
its value under any such weights, for many resamples at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


class Statistic(ABC):
    """A figure over U units (queries, pairs, groups).

    Args:
        value: the figure; NaN where it is not defined.
        n: how many queries, pairs or objects count in it.
        undefined: how many have no value of their own.
        higher_is_better: the direction.
    """

    higher_is_better = True

    def __init__(self, value: float, n: int, undefined: int = 0) -> None:
        self.value = value
        self.n = n
        self.undefined = undefined

    @abstractmethod
    def resampled(self, weights: Numbers) -> Numbers:
        """The values (B,) under weights (B, U); NaN where it is not defined for them."""


class MeanStatistic(Statistic):
    """A mean over queries or objects, which may come in clusters that are resampled as a whole.

    Args:
        values: (N,) a value for each; NaN for none.
        units: (N,) the number of the unit that each belongs to, from 0; None where each is a unit by itself.
        n_units: U; given with `units`.
        zero: count those without a value as 0 in the mean (they are reported all the same).
    """

    def __init__(
        self, values: Numbers, units: NDArray[np.int64] | None = None, n_units: int | None = None, zero: bool = False
    ) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        missing = np.isnan(self.values)
        counted = np.ones(len(self.values)) if zero else (~missing).astype(np.float64)
        known = np.where(missing, 0.0, self.values)
        self.sums: Numbers = known
        self.counts: Numbers = counted
        if units is not None:
            self.sums = np.bincount(units, known, n_units or 0).astype(np.float64)
            self.counts = np.bincount(units, counted, n_units or 0).astype(np.float64)
        total = float(self.counts.sum())
        value = float(self.sums.sum()) / total if total else float("nan")
        super().__init__(value, int(total), int(missing.sum()))

    def resampled(self, weights: Numbers) -> Numbers:
        """Weighted sums over weighted counts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            result: Numbers = (weights @ self.sums) / (weights @ self.counts)
        return result


class ReducedStatistic(Statistic):
    """Values under a function of one's own, such as `torch.median`, in place of the mean.

    Args:
        values: (N,) a value for each query; NaN for none.
        reduce: from the values (n,) of those that have one to a scalar.
    """

    def __init__(self, values: Numbers, reduce: Callable[[torch.Tensor], Any]) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self.reduce = reduce
        known = self.values[~np.isnan(self.values)]
        super().__init__(self._reduced(known), len(known), len(self.values) - len(known))

    def _reduced(self, values: Numbers) -> float:
        return float(self.reduce(torch.from_numpy(values))) if len(values) else float("nan")

    def resampled(self, weights: Numbers) -> Numbers:
        """One resample at a time, since nothing is known of the function."""
        known = ~np.isnan(self.values)
        rows = weights.astype(np.int64)[:, known]
        return np.array([self._reduced(np.repeat(self.values[known], row)) for row in rows])


class FixedStatistic(Statistic):
    """A value of which nothing more is known: it has no interval."""

    def resampled(self, weights: Numbers) -> Numbers:
        """NaN."""
        return np.full(len(weights), np.nan)


class ClusteringStatistic(Statistic):
    """The agreement of clusters with groups, under resampling of the objects; the clusters stay as they were found.

    Args:
        measure: from groups (n,) and clusters (n,) to a value.
        groups: (N,) int64.
        clusters: (N,) int64.
    """

    def __init__(
        self,
        measure: Callable[[NDArray[np.int64], NDArray[np.int64]], float],
        groups: NDArray[np.int64],
        clusters: NDArray[np.int64],
    ) -> None:
        self.measure = measure
        self.groups = groups
        self.clusters = clusters
        super().__init__(measure(groups, clusters), len(groups))

    def resampled(self, weights: Numbers) -> Numbers:
        """One resample at a time."""
        rows = weights.astype(np.int64)
        return np.array([self.measure(np.repeat(self.groups, row), np.repeat(self.clusters, row)) for row in rows])


__all__ = ["ClusteringStatistic", "FixedStatistic", "MeanStatistic", "Numbers", "ReducedStatistic", "Statistic"]
