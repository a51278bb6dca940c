"""What a softmax makes of positives and of what stands against them, for every loss that tells one from the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.losses.logsumexp import masked_logsumexp
from simlearn.losses.loss_result import LossResult, anchor_counts

Formula: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From the logits of P positives, the anchor that each belongs to (P,) int64, the log-sum-exp of what stands against
each of N anchors (N,), −inf for nothing, and how many positives it has (N,), to the sum over the anchors."""


def over_masks(
    formula: Formula,
    logits: Tensor,
    positives: Tensor,
    negatives: Tensor,
    margin: Tensor | float = 0.0,
    beside: Tensor | None = None,
) -> LossResult:
    """A formula's loss of a whole matrix, or of whole rows of one.

    Args:
        formula: makes the loss.
        logits: (N, M) scores, already divided by the temperature.
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: taken from the logits of positives; (M,) for those of each column.
        beside: (N,) one more logit against each anchor.

    Returns:
        The mean over the anchors with a positive; the counts of anchors without a positive and of those without a
        negative.
    """
    # Only the positives are gone through: mostly one a row, where the matrix has thousands.
    anchors, columns = positives.nonzero(as_tuple=True)
    against = masked_logsumexp(logits, negatives)
    against = against if beside is None else with_one_more(against, beside)
    return over_positives(formula, logits[anchors, columns] - margin_of(margin, columns), anchors, against)


def margin_of(margin: Tensor | float, columns: Tensor) -> Tensor | float:
    """What is taken from positives in these columns (P,)."""
    return margin[columns] if isinstance(margin, Tensor) and margin.ndim else margin


def over_positives(formula: Formula, positives: Tensor, anchors: Tensor, against: Tensor) -> LossResult:
    """A formula's loss of the logits of P positives, their anchors (P,), and what stands against each anchor (N,)."""
    counts = torch.zeros_like(against).index_add(0, anchors, torch.ones_like(anchors, dtype=against.dtype))
    total = formula(positives, anchors, against, counts)
    return LossResult(total, (counts > 0).sum(), anchor_counts(counts > 0, against > -torch.inf))


def with_one_more(against: Tensor, beside: Tensor) -> Tensor:
    """What stands against each anchor, with one more logit; two of −inf must not give a gradient of NaN."""
    there = beside > -torch.inf
    return torch.where(there, torch.logaddexp(against, torch.where(there, beside, 0.0)), against)
