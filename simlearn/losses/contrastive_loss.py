"""Pairs pulled together or pushed apart."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.forward_losses import PairwiseLoss
from simlearn.relations import Relation, RelationCheck
from simlearn.scoring import Scorer


class ContrastiveLoss(PairwiseLoss):
    """Pulls similar pairs together and pushes different ones beyond a margin (Hadsell et al. 2006).

    Where objects have different subgroups, each is also pushed away from the nearest other object of another subgroup.

    Args:
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        margin: how far different objects should be; for cosine in units of 1 − cos, in [0, 2].
        size_average: the mean over the pairs; False for the sum.

    Raises:
        ValueError: for a margin of 0 or less.
    """

    takes_batch_as_negatives: ClassVar[bool] = False

    def __init__(
        self, distance_metric_name: Distance | str | None = None, margin: float = 0.5, size_average: bool = True
    ) -> None:
        super().__init__(distance_metric_name)
        if not margin > 0:
            raise ValueError(f"margin must be above 0, got {margin}")
        self.margin = margin
        self.size_average = size_average

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses scores outside [0, 1]."""
        return _refuse_scores_outside_unit

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> Tensor:
        """The loss of pairs."""
        distances = scorer.paired_distances(queries, documents)
        terms = contrastive(distances, relation.paired_scores().to(distances.dtype), self.margin)
        total = terms.sum() + self._subgroup_terms(queries, documents, relation, scorer)
        return total / max(len(terms), 1) if self.size_average else total

    def _subgroup_terms(
        self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> Tensor | float:
        if relation.query_subgroups is None or relation.document_subgroups is None or not len(queries):
            return 0.0
        different = _differ(relation.query_subgroups, relation.document_subgroups, relation.one_space)
        if relation.query_ids is not None and relation.document_ids is not None:
            different &= _differ(relation.query_ids, relation.document_ids, relation.one_space)
        if relation.one_space:
            queries = documents = Embeddings.concatenate([queries, documents])
        distances = scorer.distances(queries, documents).masked_fill(~different, torch.inf)
        nearest = distances.amin(1) if relation.one_space else torch.cat([distances.amin(1), distances.amin(0)])
        # relu(margin - inf) is 0 and so is its gradient: whoever has no other subgroup adds a zero.
        return F.relu(self.margin - nearest).square().sum()


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


def _differ(queries: Tensor, documents: Tensor, one_space: bool) -> Tensor:
    """Whether two values differ: (N, M), or (N + M, N + M) for all against all in one space."""
    if one_space:
        queries = documents = torch.cat([queries, documents])
    return queries[:, None] != documents[None, :]


def _refuse_scores_outside_unit(relation: Relation) -> None:
    scores = relation.paired_scores()
    outside = ~((scores >= 0) & (scores <= 1))
    if bool(outside.any()):
        raise ValueError(f"ContrastiveLoss takes scores in [0, 1], got {scores[outside][0].item():g}; rescale them")
