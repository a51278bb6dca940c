"""The distribution of a teacher over the candidates of each query."""

from __future__ import annotations

import torch

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult
from simlearn.losses.ranking_loss import Candidates, RankingLoss


class KLDistillationLoss(RankingLoss):
    """Gives the candidates of a query the probabilities that a teacher gives them (Hinton et al. 2015).

    The relevances of a ranking are the scores of the teacher, such as a cross-encoder. The Kullback-Leibler divergence
    of the softmax of the student's scores from that of the teacher's, times temperature², so that the size of the
    gradient does not depend on it.

    Args:
        temperature: both scores are divided by it; above 1 the teacher's order among unlikely candidates counts more.
        scale: multiplied with the student's scores, to bring them to the range of the teacher's. 20 suits cosine in
            [-1, 1] beside the logits of a cross-encoder; take 1 for the dot product.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a temperature or a scale of 0 or less.
    """

    def __init__(
        self, temperature: float = 1.0, scale: float = 20.0, distance_metric_name: Distance | str | None = None
    ) -> None:
        super().__init__(distance_metric_name)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.temperature = temperature
        self.scale = scale

    def rank(self, candidates: Candidates) -> LossResult:
        """The mean divergence over the queries with at least two candidates."""
        student = candidates.log_softmax(candidates.scores * (self.scale / self.temperature))
        teacher = candidates.log_softmax(candidates.relevances / self.temperature)
        # Where the teacher's probability is 0 its logarithm may be -inf, and 0 · -inf no number.
        terms = torch.where(teacher.exp() > 0, teacher.exp() * (teacher - student), 0.0)
        return candidates.mean_of(candidates.sum(terms) * self.temperature**2, candidates.chosen_from)
