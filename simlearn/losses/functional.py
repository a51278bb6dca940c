"""Losses as pure functions of scores or distances and the masks of a relation.

All reduce in the dtype they are given, which scorers make at least fp32. An anchor that lacks a positive or a negative
adds a zero that stays in the graph, and is counted.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.losses.similarity_loss import LossResult


def triplet_hard(
    distances: Tensor, positives: Tensor, negatives: Tensor, margin: float, soft: bool = False, eps: float = 1e-6
) -> LossResult:
    """The hardest positive and the hardest negative of each anchor (Hermans et al. 2017).

    The difference is divided by the mean distance of the hardest negatives (Quaterion): where all embeddings move
    together the loss rises, which keeps the space from collapsing into a point. Of distances that may be negative, as
    that of the dot product, the mean is over their absolute values.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther the negative should be, in units of the mean hardest negative.
        soft: softplus of the plain difference instead of a margin.
        eps: the least value divided by.

    Returns:
        The mean over the anchors with both, and the counts of those without.
    """
    has_positive, has_negative = positives.any(1), negatives.any(1)
    if not distances.shape[1]:  # nothing has no maximum
        return LossResult(distances.sum(), 0, anchor_counts(has_positive, has_negative))
    hardest_positive = distances.masked_fill(~positives, -torch.inf).amax(1)
    hardest_negative = distances.masked_fill(~negatives, torch.inf).amin(1)
    return hardest_triplets(hardest_positive, hardest_negative, has_positive, has_negative, margin, soft, eps)


def hardest_triplets(
    hardest_positive: Tensor,
    hardest_negative: Tensor,
    has_positive: Tensor,
    has_negative: Tensor,
    margin: float,
    soft: bool = False,
    eps: float = 1e-6,
) -> LossResult:
    """`triplet_hard` of distances (N,) that were found already, and whether each anchor has them (N,)."""
    valid = has_positive & has_negative
    hardest_positive = torch.where(valid, hardest_positive, 0.0)
    hardest_negative = torch.where(valid, hardest_negative, 0.0)
    gap = hardest_positive - hardest_negative
    if soft:
        terms = F.softplus(gap)
    else:
        scale = hardest_negative.abs().sum() / valid.sum().clamp(min=1)
        terms = F.relu(gap / scale.clamp(min=eps) + margin)
    return LossResult(torch.where(valid, terms, 0.0).sum(), valid.sum(), anchor_counts(has_positive, has_negative))


def triplet_all(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> LossResult:
    """All triplets that violate the margin, averaged over those that do.

    For anchor a and positive p the violating negatives are those nearer than `d(a, p) + margin`: a prefix of the sorted
    negatives, whose sum is a prefix sum. So N × M numbers are enough where the triplets are N × M × M.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther every negative should be.

    Returns:
        The mean, and the counts of anchors without a positive or a negative.
    """
    ascending = distances.masked_fill(~negatives, torch.inf).sort(dim=1).values
    sums = F.pad(torch.where(ascending.isinf(), 0.0, ascending).cumsum(1), (1, 0))
    limits = distances + margin
    # A negative at the limit itself adds zero and is no violation.
    violating = torch.searchsorted(ascending.detach().contiguous(), limits.detach().contiguous(), right=False)
    violating = violating.minimum(negatives.sum(1, keepdim=True)) * positives
    terms = violating * limits - sums.gather(1, violating)
    total = torch.where(positives, terms, 0.0).sum()
    return LossResult(total, violating.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def triplet_semi_hard(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> LossResult:
    """For each anchor and positive the nearest negative beyond the positive (FaceNet, Schroff et al. 2015).

    Where every negative is nearer than the positive, the farthest one is taken.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther the negative should be.

    Returns:
        The mean over all anchors' positives, and the counts of anchors without a positive or a negative.
    """
    has_negative = negatives.any(1, keepdim=True)
    ascending = distances.masked_fill(~negatives, torch.inf).sort(dim=1).values
    farther = torch.searchsorted(ascending.detach().contiguous(), distances.detach().contiguous(), right=True)
    last = (negatives.sum(1, keepdim=True) - 1).clamp(min=0)
    chosen = ascending.gather(1, farther.minimum(last))
    valid = positives & has_negative
    chosen = torch.where(valid, chosen, 0.0)
    terms = torch.where(valid, F.relu(distances - chosen + margin), 0.0)
    return LossResult(terms.sum(), valid.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def contrastive(distances: Tensor, scores: Tensor, margin: float) -> Tensor:
    """Half the squared distance of similar pairs, half the squared lack of margin of others (Hadsell et al. 2006).

    Args:
        distances: (B,).
        scores: (B,) in [0, 1], 1 for similar; a score between weighs both terms.
        margin: how far different objects should be.

    Returns:
        (B,) terms.
    """
    return 0.5 * (scores * distances.square() + (1.0 - scores) * F.relu(margin - distances).square())


def anchor_counts(has_positive: Tensor, has_negative: Tensor) -> dict[str, Tensor]:
    """How many anchors lack a positive, and how many a negative, of (N,) bools."""
    return {"anchors_without_positive": (~has_positive).sum(), "anchors_without_negative": (~has_negative).sum()}
