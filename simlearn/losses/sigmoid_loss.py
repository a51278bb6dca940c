"""A yes or no for every pair of query and document."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.mask_loss import MaskLoss


class SigmoidLoss(MaskLoss):
    """Classifies every pair of query and document as alike or not (SigLIP, Zhai et al. 2023).

    The scale and the bias of the logits are learnt. The bias starts low, since most pairs of a batch are not alike. The
    loss is its own transpose but for what it is divided by: the number of queries.

    Args:
        scale: what scores are multiplied with at first.
        bias: what is added to scaled scores at first.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a scale of 0 or less.
    """

    def __init__(
        self, scale: float = 10.0, bias: float = -10.0, distance_metric_name: Distance | str | None = None
    ) -> None:
        super().__init__(distance_metric_name)
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.initial_scale = scale
        self.initial_bias = bias
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        """See `pairwise_sigmoid`."""
        return pairwise_sigmoid(scores * self.log_scale.exp() + self.bias, positives, negatives)


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
