"""More losses as pure functions of scores or distances and the masks of a relation; `functional` tells their manners.

All take scores or distances (N, M) and bools (N, M) of positives and negatives, and sum up rows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.losses.functional import anchor_counts
from simlearn.losses.logsumexp import masked_logsumexp
from simlearn.losses.similarity_loss import LossResult


def pairwise_sigmoid(logits: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
    """Each pair of query and document by itself: are they alike or not (SigLIP, Zhai et al. 2023).

    Args:
        logits: (N, M) scores, already scaled and shifted.
        positives: (N, M) bool.
        negatives: (N, M) bool.

    Returns:
        The sum over all pairs divided by the number of queries, and the counts of those without a positive or negative.
    """
    terms = torch.where(positives, F.logsigmoid(logits), 0.0) + torch.where(negatives, F.logsigmoid(-logits), 0.0)
    return LossResult(-terms.sum(), len(logits), anchor_counts(positives.any(1), negatives.any(1)))


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
    pull = F.softplus(_logsumexp(-alpha * (scores - base), positives)) / alpha
    push = F.softplus(_logsumexp(beta * (scores - base), negatives)) / beta
    pull = torch.where(positives.any(1, keepdim=True), pull, 0.0)
    push = torch.where(negatives.any(1, keepdim=True), push, 0.0)
    return LossResult((pull + push).sum(), len(scores), counts)


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
    logits = _logsumexp(pull, positives) + _logsumexp(push, negatives)
    rows = torch.where(valid, F.softplus(logits[:, 0]), 0.0)
    return LossResult(rows.sum(), valid.sum(), anchor_counts(has_positive, has_negative))


def pull_all(distances: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
    """The mean distance of all positives; the counts of anchors without a positive or a negative."""
    total = torch.where(positives, distances, 0.0).sum()
    return LossResult(total, positives.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def push_all(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> LossResult:
    """The mean of what all negatives lack to the margin; the counts of anchors without a positive or a negative."""
    total = torch.where(negatives, F.relu(margin - distances), 0.0).sum()
    return LossResult(total, negatives.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def fast_ap(distances: Tensor, positives: Tensor, negatives: Tensor, num_bins: int = 10) -> LossResult:
    """One minus the average precision of each anchor's ranking, by soft histograms (FastAP, Cakir et al. 2019).

    Every distance is shared by the two nearest of `num_bins + 1` bin centres. Histograms of (N, bins) are all that is
    made of (N, M) distances, so that no tensor of (bins, N, M) is needed.

    Args:
        distances: (N, M) cosine distances, 1 − cos, half the squared Euclidean distance of unit vectors.
        positives: (N, M) bool.
        negatives: (N, M) bool.
        num_bins: how fine the ranking is; at least 1.

    Returns:
        The mean over the anchors with a positive, and the counts of those without a positive or a negative.
    """
    has_positive, has_negative = positives.any(1), negatives.any(1)
    places = (distances / 2).clamp(0, 1) * num_bins
    lower = places.detach().floor().clamp(max=num_bins - 1)
    share, bins = places - lower, lower.long()

    def histogram(mask: Tensor) -> Tensor:
        empty = distances.new_zeros(len(distances), num_bins + 1)
        below = empty.scatter_add(1, bins, torch.where(mask, 1 - share, 0.0))
        return below.scatter_add(1, bins + 1, torch.where(mask, share, 0.0))

    positive = histogram(positives)
    positives_so_far = positive.cumsum(1)
    all_so_far = positives_so_far + histogram(negatives).cumsum(1)
    # Nothing in a bin and before it: 0 of 0 are similar. Next to nothing is as good as nothing, and divides as badly.
    filled = all_so_far > 1e-12
    precision = torch.where(filled, positives_so_far, 0.0) / torch.where(filled, all_so_far, 1.0)
    average = (positive * precision).sum(1) / positives.sum(1).clamp(min=1)
    rows = torch.where(has_positive & has_negative, 1 - average, 0.0)
    return LossResult(rows.sum(), has_positive.sum(), anchor_counts(has_positive, has_negative))


def _logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """The log of Σ exp over the columns in `mask`, (N, 1); 0 for a row without any, which is no use."""
    return torch.where(mask.any(1), masked_logsumexp(values, mask), 0.0)[:, None]
