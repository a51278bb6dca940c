"""Pairs weighted by how far each is from where it should be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.losses.logsumexp import logsumexp_or_zero
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.mask_loss import MaskLoss


class CircleLoss(MaskLoss):
    """Pulls and pushes each pair with a strength of its own (Sun et al. 2020), one anchor at a time.

    Args:
        margin: positives should reach a cosine of 1 − margin, negatives stay below margin.
        scale_factor: γ, how sharply the worst pairs stand out. The paper has margin 0.25 and 256 for faces, 0.25 and
            128 for persons, 0.4 and 80 for images of things.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine, which is
            what the margin is made for.

    Raises:
        ValueError: for a scale factor of 0 or less.
    """

    def __init__(
        self,
        margin: float = 0.25,
        scale_factor: float = 256.0,
        distance_metric_name: Distance | str | None = None,
    ) -> None:
        super().__init__(distance_metric_name)
        if not scale_factor > 0:
            raise ValueError(f"scale_factor must be above 0, got {scale_factor}")
        self.margin = margin
        self.scale_factor = scale_factor

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        """See `circle`."""
        return circle(scores, positives, negatives, self.margin, self.scale_factor)


def circle(
    scores: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.25, scale_factor: float = 256.0
) -> LossResult:
    """Pairs weighted by how far each is from where it should be (Sun et al. 2020), one anchor at a time.

    The weights `[1 + margin − s_p]₊` and `[s_n + margin]₊` have no gradient, as in the paper's equation 7.

    Args:
        scores: (N, M), of cosine.
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: positives should reach 1 − margin, negatives stay below it.
        scale_factor: γ, how sharp the maximum over pairs is.

    Returns:
        The mean over the anchors with both, and the counts of those without a positive or a negative.
    """
    has_positive, has_negative = positives.any(1), negatives.any(1)
    valid = has_positive & has_negative
    known = scores.detach()
    pull = -scale_factor * F.relu(1 + margin - known) * (scores - (1 - margin))
    push = scale_factor * F.relu(known + margin) * (scores - margin)
    logits = logsumexp_or_zero(pull, positives) + logsumexp_or_zero(push, negatives)
    rows = torch.where(valid, F.softplus(logits[:, 0]), 0.0)
    return LossResult(rows.sum(), valid.sum(), anchor_counts(has_positive, has_negative))
