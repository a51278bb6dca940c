"""Positives and negatives weighted by how they compare with each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.losses.logsumexp import logsumexp_or_zero
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.mask_loss import MaskLoss


class MultiSimilarityLoss(MaskLoss):
    """Mines the informative pairs of each anchor, then weighs them softly (Wang et al. 2019).

    Args:
        alpha: how much the least similar positives count.
        beta: how much the most similar negatives count.
        base: the score where similar ends and different begins.
        epsilon: the margin of mining; None uses all pairs.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for an alpha or beta of 0 or less.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float | None = 0.1,
        distance_metric_name: Distance | str | None = None,
    ) -> None:
        super().__init__(distance_metric_name)
        if not (alpha > 0 and beta > 0):
            raise ValueError(f"alpha and beta must be above 0, got {alpha} and {beta}")
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        """See `multi_similarity`."""
        return multi_similarity(scores, positives, negatives, self.alpha, self.beta, self.base, self.epsilon)


def multi_similarity(
    scores: Tensor,
    positives: Tensor,
    negatives: Tensor,
    alpha: float = 2.0,
    beta: float = 50.0,
    base: float = 0.5,
    epsilon: float | None = 0.1,
) -> LossResult:
    """Soft-weighted positives and negatives of each anchor (Wang et al. 2019).

    Args:
        scores: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        alpha: how much the least similar positives count.
        beta: how much the most similar negatives count.
        base: where similar ends and different begins.
        epsilon: only positives that are less than this above the nearest negative count, and negatives that are less
            than this below the farthest positive; None for all.

    Returns:
        The mean over all anchors, and the counts of those without a positive or a negative.
    """
    counts = anchor_counts(positives.any(1), negatives.any(1))
    if not scores.shape[1]:  # nothing has no maximum
        return LossResult(scores.sum(), len(scores), counts)
    if epsilon is not None:
        known = scores.detach()
        nearest_negative = known.masked_fill(~negatives, -torch.inf).amax(1, keepdim=True)
        farthest_positive = known.masked_fill(~positives, torch.inf).amin(1, keepdim=True)
        positives = positives & (known - epsilon < nearest_negative)
        negatives = negatives & (known + epsilon > farthest_positive)
    pull = F.softplus(logsumexp_or_zero(-alpha * (scores - base), positives)) / alpha
    push = F.softplus(logsumexp_or_zero(beta * (scores - base), negatives)) / beta
    pull = torch.where(positives.any(1, keepdim=True), pull, 0.0)
    push = torch.where(negatives.any(1, keepdim=True), push, 0.0)
    return LossResult((pull + push).sum(), len(scores), counts)
