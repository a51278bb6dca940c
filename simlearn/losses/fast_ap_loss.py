"""Average precision, made differentiable."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.mask_loss import MaskLoss


class FastAPLoss(MaskLoss):
    """One minus the average precision of each anchor's ranking, by soft histograms (Cakir et al. 2019).

    It compares by cosine, whose bounds the histogram needs. It is made for large batches with several objects a class.

    Args:
        num_bins: how finely distances are told apart.

    Raises:
        ValueError: for less than one bin.
    """

    by_distance: ClassVar[bool] = True
    temporaries: ClassVar[int] = 20  # shares, places and both histograms, with their gradients

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__(Distance.COSINE)
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        self.num_bins = num_bins

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        """See `fast_ap`."""
        return fast_ap(scores, positives, negatives, self.num_bins)


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
