"""Metrics of scored pairs, as pure functions: how well scores tell similar pairs from different ones.

All in float64, with ties treated as ties: no value depends on the order of the pairs. Where a value is not defined,
for want of similar or of different pairs, it is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Threshold(NamedTuple):
    """A threshold, from which score on pairs are called similar, and what follows from it.

    Args:
        threshold: half way between the lowest score called similar and the next one below.
        f1: harmonic mean of precision and recall, in [0, 1].
        precision: the share of the pairs called similar that are.
        recall: the share of the similar pairs that are called so.
        accuracy: the share of the pairs called right.
    """

    threshold: float
    f1: float
    precision: float
    recall: float
    accuracy: float


def roc_auc(scores: Tensor, similar: Tensor) -> float:
    """The chance that a similar pair scores higher than a different one, a tie counting half: in [0, 1].

    Args:
        scores: (P,) scores.
        similar: (P,) bool.

    Returns:
        The area under the ROC curve; NaN without both kinds of pairs.

    Raises:
        ValueError: when the shapes do not fit, or a score is NaN.
    """
    _check(scores, similar)
    n_similar, n_different = int(similar.sum()), int((~similar).sum())
    if not n_similar or not n_different:
        return torch.nan
    ranks = mean_ranks(scores)
    return float((ranks[similar].sum() - n_similar * (n_similar + 1) / 2) / (n_similar * n_different))


def average_precision(scores: Tensor, similar: Tensor) -> float:
    """The precision at each rise of recall, averaged by the rise: in [0, 1]; NaN without a similar pair.

    Pairs of one score are taken together (scikit-learn's `average_precision_score`). Arguments as for `roc_auc`.
    """
    _check(scores, similar)
    if not bool(similar.any()):
        return torch.nan
    steps = _steps(scores, similar)
    precision = steps.hits / steps.taken
    rises = torch.diff(steps.hits, prepend=steps.hits.new_zeros(1))
    return float((precision * rises).sum() / similar.sum())


def best_f1(scores: Tensor, similar: Tensor) -> Threshold:
    """The threshold with the best F1, and the highest of several such. Arguments as for `roc_auc`.

    Returns:
        All NaN without a similar pair.
    """
    _check(scores, similar)
    if not bool(similar.any()):
        return Threshold(torch.nan, torch.nan, torch.nan, torch.nan, torch.nan)
    steps = _steps(scores, similar)
    total = similar.sum()
    best = int((2 * steps.hits / (steps.taken + total)).argmax())
    hits, taken = float(steps.hits[best]), float(steps.taken[best])
    below = steps.scores[best + 1] if best + 1 < len(steps.scores) else steps.scores[best]
    right = hits + (len(scores) - int(total)) - (taken - hits)
    return Threshold(
        float((steps.scores[best] + below) / 2),
        2 * hits / (taken + float(total)),
        hits / taken,
        hits / float(total),
        right / len(scores),
    )


def equal_error_rate(scores: Tensor, similar: Tensor) -> float:
    """The error rate where as many different pairs are accepted as similar ones are missed: in [0, 1].

    Between two thresholds the ROC curve is a straight line. Arguments as for `roc_auc`; NaN without both kinds.
    """
    _check(scores, similar)
    if not bool(similar.any()) or bool(similar.all()):
        return torch.nan
    steps = _steps(scores, similar)
    zero = steps.hits.new_zeros(1)
    accepted = torch.cat([zero, (steps.taken - steps.hits) / (~similar).sum()])
    missed = 1 - torch.cat([zero, steps.hits / similar.sum()])
    after = int((accepted >= missed).nonzero()[0])  # not 0: nothing is accepted at first, and all is missed
    before = after - 1
    gap = missed[before] - accepted[before]
    share = gap / (gap + accepted[after] - missed[after])
    return float(accepted[before] + share * (accepted[after] - accepted[before]))


def spearman(first: Tensor, second: Tensor) -> float:
    """The correlation of two columns' ranks, ties sharing their mean rank: in [-1, 1]; NaN where one is constant.

    Args:
        first: (P,) for instance scores.
        second: (P,) for instance how similar people found the pairs.

    Raises:
        ValueError: when the shapes do not fit, or a value is NaN.
    """
    _check(first, second, bools=False)
    if len(first) < 2:
        return torch.nan
    x, y = (ranks - ranks.mean() for ranks in (mean_ranks(first), mean_ranks(second)))
    spread = (x.square().sum() * y.square().sum()).sqrt()
    return float(((x * y).sum() / spread).clamp(-1.0, 1.0)) if bool(spread > 0) else torch.nan


def mean_ranks(values: Tensor) -> Tensor:
    """(P,) float64 ranks from 1, ascending; equal values share the mean of theirs."""
    _, group, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    ranks: Tensor = (last - (counts - 1) / 2)[group]
    return ranks


class _Steps(NamedTuple):
    """The thresholds that can differ, from the highest score down.

    Args:
        scores: (S,) float64, each once.
        taken: (S,) float64: how many pairs score so high.
        hits: (S,) float64: how many of these are similar.
    """

    scores: Tensor
    taken: Tensor
    hits: Tensor


def _steps(scores: Tensor, similar: Tensor) -> _Steps:
    ordered, order = scores.double().sort(descending=True)
    last = torch.cat([ordered.diff() != 0, torch.ones_like(similar[:1])])
    hits = similar[order].double().cumsum(0)
    taken = torch.arange(1, len(scores) + 1, dtype=torch.float64, device=scores.device)
    return _Steps(ordered[last], taken[last], hits[last])


def _check(scores: Tensor, other: Tensor, bools: bool = True) -> None:
    if scores.ndim != 1 or scores.shape != other.shape:
        raise ValueError(f"two columns (P,) are needed, got {tuple(scores.shape)} and {tuple(other.shape)}")
    if bools and other.dtype is not torch.bool:
        raise ValueError(f"similar must be bool, got {other.dtype}; compare graded labels with a threshold, labels > 0")
    if bool(scores.isnan().any()) or bool(other.isnan().any()):
        raise ValueError("NaN among the values, which cannot be ranked")
