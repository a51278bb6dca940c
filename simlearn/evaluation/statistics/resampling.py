"""How far a figure may be off: bootstrap resamples of the units it is made of.

Efron and Tibshirani, An Introduction to the Bootstrap (1993). Units are drawn with replacement, as many as there are;
the interval holds the middle of the figures that follow. One seed draws the same resamples for every figure, so that
those of two models can be compared draw by draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from simlearn.evaluation.statistics.statistic import MeanStatistic, Numbers, Statistic

_CELLS = 2**21
"""Weights drawn at once: 16 MB of them."""


def draw_weights(n_units: int, n_resamples: int, seed: int) -> Iterator[Numbers]:
    """How often each of U units is in each resample, (b, U) at a time, B in all; the same for the same seed."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS // max(1, n_units))
    for start in range(0, n_resamples, at_once):
        rows = min(at_once, n_resamples - start)
        drawn = generator.integers(n_units, size=(rows, n_units), dtype=np.int32).astype(np.int64)
        drawn += (np.arange(rows) * n_units)[:, None]
        yield np.bincount(drawn.reshape(-1), minlength=rows * n_units).reshape(rows, n_units).astype(np.float64)


def resample(statistics: Sequence[Statistic], n_units: int, n_resamples: int, seed: int) -> Numbers:
    """The values (B, K) of K statistics over the same U units in B resamples of them.

    Args:
        statistics: K of them.
        n_units: U.
        n_resamples: B.
        seed: of the draws.
    """
    values = np.full((n_resamples, len(statistics)), np.nan)
    if not n_units or not statistics:
        return values
    means = [number for number, one in enumerate(statistics) if isinstance(one, MeanStatistic)]
    # All means in one matrix product: reading the weights once a metric would cost more than drawing them.
    columns = [part for number in means for part in _sums_and_counts(statistics[number])]
    stacked = np.stack(columns, axis=1) if columns else np.zeros((n_units, 0))
    first = 0
    for weights in draw_weights(n_units, n_resamples, seed):
        rows = slice(first, first + len(weights))
        totals = weights @ stacked
        with np.errstate(invalid="ignore", divide="ignore"):
            values[rows, means] = totals[:, 0::2] / totals[:, 1::2]
        for number, one in enumerate(statistics):
            if not isinstance(one, MeanStatistic):
                values[rows, number] = one.resampled(weights)
        first = rows.stop
    return values


def interval(values: Numbers, confidence: float) -> tuple[float, float]:
    """The bounds between which the middle share of resampled values (B,) lies; NaN where there is none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _sums_and_counts(statistic: Statistic) -> tuple[Numbers, Numbers]:
    if not isinstance(statistic, MeanStatistic):
        raise TypeError(f"a mean is needed, got {type(statistic).__name__}")
    return statistic.sums, statistic.counts
