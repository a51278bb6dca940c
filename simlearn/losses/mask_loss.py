"""Losses as formulas over masks: all they need of a batch is how alike it is, and how alike it should be."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.losses.tiling import TEMPORARIES, tiled_loss
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class MaskLoss(SimilarityLoss):
    """The base of losses that sum over the rows of a matrix of scores: implement `policy`.

    It learns from every kind of samples, takes earlier batches as further columns, and holds no more of the matrix than
    `tile_bytes` at a time, however large the batch is. Parameters of the loss that `policy` reads get their gradients.
    """

    takes_memory: ClassVar[bool] = True
    takes_graded_scores: ClassVar[bool] = False
    by_distance: ClassVar[bool] = False
    """Whether `policy` is given distances instead of scores."""
    temporaries: ClassVar[int] = TEMPORARIES
    """How many fp32 matrices as large as a tile `policy` and its gradient hold at once, about."""

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        """The sum over some rows of the matrix, each of which has all its columns.

        Args:
            scores: (r, M) of r queries and all M documents, in at least fp32; higher is more similar. Distances, where
                the class says `by_distance`.
            positives: (r, M) bool, what is similar.
            negatives: (r, M) bool, what is different; what is neither does not count.

        Returns:
            The sum in the graph, what it is divided by, and counts for the log. Those of all rows are added up.
        """
        raise NotImplementedError(f"{type(self).__name__} must define policy")

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        return tiled_loss(
            queries,
            documents,
            relation,
            scorer,
            self.policy,
            learnt=[parameter for parameter in self.parameters() if parameter.requires_grad],
            by_distance=self.by_distance,
            tile_bytes=self.tile_bytes,
            temporaries=self.temporaries,
        )
