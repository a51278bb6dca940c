"""Metrics of scored pairs under weights, for many resamples of the pairs at once.

The pairs are sorted once. Under weights every metric is a function of weighted cumulative sums along that order, read
where a run of equal scores ends. With all weights 1 the values are those of `simlearn.evaluation.pairs.metrics`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from simlearn.evaluation.pairs import metrics
from simlearn.evaluation.statistics.statistic import Numbers, Statistic

PAIR_METRICS = ("roc_auc", "average_precision", "best_f1", "equal_error_rate", "spearman")


class PairStatistic(Statistic):
    """A metric of scores against labels, by name.

    Args:
        name: one of `PAIR_METRICS`.
        scores: (P,) float.
        labels: (P,) float; above `threshold` is similar, `"spearman"` takes them as they are.
        threshold: see `labels`.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(self, name: str, scores: Numbers, labels: Numbers, threshold: float = 0.0) -> None:
        if name not in PAIR_METRICS:
            raise ValueError(f"unknown metric of pairs {name!r}; known are {', '.join(PAIR_METRICS)}")
        self.name = name
        self.higher_is_better = name != "equal_error_rate"
        given, wanted = torch.from_numpy(scores), torch.from_numpy(labels)
        similar = wanted > threshold
        value = {
            "roc_auc": lambda: metrics.roc_auc(given, similar),
            "average_precision": lambda: metrics.average_precision(given, similar),
            "best_f1": lambda: metrics.best_f1(given, similar).f1,
            "equal_error_rate": lambda: metrics.equal_error_rate(given, similar),
            "spearman": lambda: metrics.spearman(given, wanted),
        }[name]()
        super().__init__(value, len(scores))
        self._scores, self._labels = scores, labels
        self._order = np.argsort(-scores, kind="stable")
        self._similar = similar.numpy()[self._order].astype(np.float64)
        self._last = np.append(np.diff(scores[self._order]) != 0, True)[: len(scores)]

    def resampled(self, weights: Numbers) -> Numbers:
        """See `Statistic`; about ten passes over the weights (B, P)."""
        if self.name == "spearman":
            return _spearman(weights, self._scores, self._labels)
        ordered = weights[:, self._order]
        taken = ordered.cumsum(1)[:, self._last]
        hits = (ordered * self._similar).cumsum(1)[:, self._last]
        similar, different = hits[:, -1:], taken[:, -1:] - hits[:, -1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.name == "best_f1":
                values: Numbers = (2 * hits / (taken + similar)).max(1)
                values[similar[:, 0] == 0] = np.nan
                return values
            if self.name == "average_precision":
                precision = np.where(taken > 0, hits / taken, 0.0)
                found: Numbers = _sum_over_rises(precision, hits) / similar[:, 0]
                return found
            missed, accepted = 1 - hits / similar, (taken - hits) / different
            if self.name == "equal_error_rate":
                return _crossing(missed, accepted)
            # A step of the ROC curve adds a trapezium.
            before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
            area: Numbers = _sum_over_rises((hits + before) / 2, taken - hits) / (similar * different)[:, 0]
            return area


def _sum_over_rises(heights: Numbers, steps: Numbers) -> Numbers:
    rises = np.diff(steps, axis=1, prepend=0.0)
    total: Numbers = np.einsum("bs,bs->b", heights, rises)
    return total


def _crossing(missed: Numbers, accepted: Numbers) -> Numbers:
    """Where (B, S) falling and (B, S) rising rates meet, the lines between their points taken as straight."""
    start = np.zeros((len(missed), 1))
    missed = np.concatenate([start + 1, missed], axis=1)
    accepted = np.concatenate([start, accepted], axis=1)
    after = np.maximum((accepted >= missed).argmax(1), 1)
    rows = np.arange(len(missed))
    gap = missed[rows, after - 1] - accepted[rows, after - 1]
    share = gap / (gap + accepted[rows, after] - missed[rows, after])
    low = accepted[rows, after - 1]
    crossing: Numbers = low + share * (accepted[rows, after] - low)
    return crossing


def _spearman(weights: Numbers, first: Numbers, second: Numbers) -> Numbers:
    x, y = _weighted_ranks(weights, first), _weighted_ranks(weights, second)
    total = weights.sum(1)
    middle = (total + 1)[:, None] / 2
    x, y = x - middle, y - middle
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.einsum("bp,bp,bp->b", weights, x, x) * np.einsum("bp,bp,bp->b", weights, y, y))
        together = np.einsum("bp,bp,bp->b", weights, x, y)
        return np.where(spread > 0, np.clip(together / spread, -1, 1), np.nan)


def _weighted_ranks(weights: Numbers, values: Numbers) -> Numbers:
    """(B, P) ranks of the values where each is there as often as its weight says; ties share their mean rank."""
    _, group = np.unique(values, return_inverse=True)
    order: NDArray[np.int64] = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Numbers = (sizes.cumsum(1) - (sizes - 1) / 2)[:, group]
    return ranks


__all__ = ["PAIR_METRICS", "PairStatistic"]
