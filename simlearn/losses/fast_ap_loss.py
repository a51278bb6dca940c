"""Average precision, made differentiable."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.checks import refuse_graded_pairs
from simlearn.losses.comparisons import fast_ap
from simlearn.losses.similarity_loss import ALL_RELATIONS, GroupLoss, LossResult
from simlearn.losses.tiling import tiled_loss
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import Scorer

_HISTOGRAMS = 20
"""Matrices as large as a tile that shares, places and both histograms take with their gradients."""


class FastAPLoss(GroupLoss):
    """One minus the average precision of each anchor's ranking, by soft histograms (Cakir et al. 2019).

    It compares by cosine, whose bounds the histogram needs. It is made for large batches with several objects a class.

    Args:
        num_bins: how finely distances are told apart.

    Raises:
        ValueError: for less than one bin.
    """

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    takes_memory: ClassVar[bool] = True

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__(Distance.COSINE)
        if num_bins < 1:
            raise ValueError(f"num_bins must be at least 1, got {num_bins}")
        self.num_bins = num_bins

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses graded scores of pairs."""
        return partial(refuse_graded_pairs, name=type(self).__name__)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        policy = partial(fast_ap, num_bins=self.num_bins)
        return tiled_loss(
            queries,
            documents,
            relation,
            scorer,
            policy,
            by_distance=True,
            tile_bytes=self.tile_bytes,
            temporaries=_HISTOGRAMS,
        )
