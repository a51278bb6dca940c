"""Positives and negatives weighted by how they compare with each other."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.checks import refuse_graded_pairs
from simlearn.losses.comparisons import multi_similarity
from simlearn.losses.similarity_loss import ALL_RELATIONS, GroupLoss, LossResult
from simlearn.losses.tiling import tiled_loss
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import Scorer


class MultiSimilarityLoss(GroupLoss):
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

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    takes_memory: ClassVar[bool] = True

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

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses graded scores of pairs."""
        return partial(refuse_graded_pairs, name=type(self).__name__)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        policy = partial(multi_similarity, alpha=self.alpha, beta=self.beta, base=self.base, epsilon=self.epsilon)
        return tiled_loss(queries, documents, relation, scorer, policy, tile_bytes=self.tile_bytes)
