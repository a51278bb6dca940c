"""Pairs in the order of their graded scores."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.forward_losses import PairwiseLoss
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single, double_on
from simlearn.relations import Relation, RelationCheck
from simlearn.scoring import Scorer


class PairOrderLoss(PairwiseLoss):
    """The base of losses that learn only in which order pairs are similar, not how similar they are.

    The scores may be on any scale, and pairs of equal score are not compared with each other.

    Args:
        scale: 1 / temperature, multiplied with the similarities.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a scale of 0 or less.
    """

    needs_positives: ClassVar[bool] = False
    needs_negatives: ClassVar[bool] = False
    takes_batch_as_negatives: ClassVar[bool] = False

    def __init__(self, scale: float = 20.0, distance_metric_name: Distance | str | None = None) -> None:
        super().__init__(distance_metric_name)
        if not scale > 0:
            raise ValueError(f"scale is 1 / temperature and must be above 0, got {scale}")
        self.scale = scale

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses scores that are no finite numbers."""
        return partial(_refuse_unordered, type(self).__name__)

    def similarities(self, queries: Embeddings, documents: Embeddings, scorer: Scorer) -> Tensor:
        """The similarity (N,) of query i and document i; higher is more similar."""
        return scorer.paired(queries, documents)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of pairs; see `pair_order`."""
        gold = relation.paired_scores()
        with torch.autocast(queries.device.type, enabled=False):
            return pair_order(self.similarities(queries, documents, scorer), gold, self.scale)


class CoSENTLoss(PairOrderLoss):
    """Ranks pairs as their graded scores do (Su 2022, "CoSENT: a more effective sentence vector scheme").

    `log(1 + Σ exp(scale · (s_j − s_i)))` over all pairs i and j of the batch of which i has the higher score: of
    similarities s only the order is learnt, so scores from 0 to 5 need no rescaling. It takes B log B steps for B
    pairs, where the definition compares all with all. A batch in which all scores are equal adds a zero.

    Args:
        scale: 1 / temperature, multiplied with the similarities. 20 suits cosine in [-1, 1].
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a scale of 0 or less.
    """


def pair_order(similarities: Tensor, scores: Tensor, scale: float) -> LossResult:
    """`log(1 + Σ exp(scale · (s_j − s_i)))` over all i and j with a higher score for i than for j.

    Sorted by score, what pair i is compared with is a prefix, up to the first pair of its own score: the sum is one
    running log-sum-exp, and one more over its differences.

    Args:
        similarities: (B,)
        scores: (B,) their order is what counts.
        scale: multiplied with the similarities.

    Returns:
        The loss with weight 1, or 0 where nothing is compared; the count of pairs without another score.
    """
    dtype = at_least_single(similarities)
    # A running sum over the batch gathers rounding errors; B numbers in double cost nothing.
    wide = double_on(similarities.device)
    ascending, order = scores.sort(stable=True)
    logits = scale * similarities.to(wide).index_select(0, order)
    lower = torch.searchsorted(ascending, ascending, right=False)
    compared = lower > 0
    below = torch.logcumsumexp(logits, dim=0).index_select(0, (lower - 1).clamp(min=0))
    gaps = torch.where(compared, below - logits, -torch.inf)
    total = torch.logsumexp(torch.cat([gaps.new_zeros(1), gaps]), dim=0)
    ordered = compared.any()
    alone = torch.where(ordered, 0, len(scores))
    return LossResult(total.to(dtype), ordered.long(), {"pairs_without_other_score": alone})


def _refuse_unordered(name: str, relation: Relation) -> None:
    scores = relation.paired_scores()
    wrong = ~torch.isfinite(scores)
    if bool(wrong.any()):
        raise ValueError(f"{name} takes finite scores, got {scores[wrong][0].item():g}; drop or mend these pairs")
