"""Pairs weighted by how far each is from where it should be."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.checks import refuse_graded_pairs
from simlearn.losses.comparisons import circle
from simlearn.losses.similarity_loss import ALL_RELATIONS, GroupLoss, LossResult
from simlearn.losses.tiling import tiled_loss
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import Scorer


class CircleLoss(GroupLoss):
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

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    takes_memory: ClassVar[bool] = True

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

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses graded scores of pairs."""
        return partial(refuse_graded_pairs, name=type(self).__name__)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        policy = partial(circle, margin=self.margin, scale_factor=self.scale_factor)
        return tiled_loss(queries, documents, relation, scorer, policy, tile_bytes=self.tile_bytes)
