"""A softmax over the candidates of each query."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult
from simlearn.losses.ranking_loss import Candidates, RankingLoss, relevances_of
from simlearn.relations import Relation, RelationCheck


class ListwiseSoftmaxLoss(RankingLoss):
    """Gives each candidate of a query its share of the relevance (Cao et al. 2007, ListNet's top-one probability).

    Cross-entropy between the softmax of a query's scores and its relevances, divided by their sum: with relevances of 0
    and 1 this is the softmax over one or several positives. Only the query's own candidates take part. The mean is over
    the queries with at least two candidates of which one is relevant; the others add a zero and are counted.

    Args:
        scale: 1 / temperature, multiplied with the scores. 20 suits cosine in [-1, 1].
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a scale of 0 or less.
    """

    needs_positives: ClassVar[bool] = True

    def __init__(self, scale: float = 20.0, distance_metric_name: Distance | str | None = None) -> None:
        super().__init__(distance_metric_name)
        if not scale > 0:
            raise ValueError(f"scale is 1 / temperature and must be above 0, got {scale}")
        self.scale = scale

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses relevances below 0, of which no share can be taken."""
        return partial(_refuse_negative, type(self).__name__)

    def rank(self, candidates: Candidates) -> LossResult:
        """The mean cross-entropy over the queries that have a choice and a relevant candidate."""
        # Of huge relevances even the sum must be finite: each query's are brought below 1 first.
        highest = candidates.relevances.new_zeros(len(candidates.counts))
        highest = highest.scatter_reduce(0, candidates.owners, candidates.relevances, reduce="amax")
        relevant = highest > 0
        shares = candidates.relevances / torch.where(relevant, highest, 1.0)[candidates.owners]
        sums = torch.where(relevant, candidates.sum(shares), 1.0)
        surprise = -candidates.log_softmax(self.scale * candidates.scores)
        terms = candidates.sum(shares * surprise) / sums
        counted = relevant & candidates.chosen_from
        return candidates.mean_of(terms, counted, queries_without_positive=(~relevant).sum())


def _refuse_negative(name: str, relation: Relation) -> None:
    relevances = relevances_of(name, relation)
    if bool((relevances < 0).any()):
        raise ValueError(
            f"{name} takes relevances of 0 or more, got {relevances.min().item():g}; raise them to 0, or take "
            "KLDistillationLoss where they are the scores of a teacher"
        )
