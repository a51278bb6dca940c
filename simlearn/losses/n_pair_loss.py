"""N-pair: one positive against the other pairs of the batch, with small norms."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.contrast import contrast
from simlearn.losses.loss_result import LossResult
from simlearn.losses.multiple_negatives_ranking_loss import each_positive
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class NPairLoss(SimilarityLoss):
    """Each positive against the negatives of its anchor, by dot product and without a temperature (Sohn 2016).

    Pairs give the paper's N-pair loss: the positives of the other pairs are the negatives. Groups and the rest give the
    same term for every positive. As the norms of the embeddings stand for the temperature, they are kept small.

    Args:
        l2_weight: how much the mean squared norms of queries and of documents count.
        distance_metric_name: how embeddings compare; the paper's dot product by default, None for cosine.

    Raises:
        ValueError: for a negative weight.
    """

    takes_memory: ClassVar[bool] = True
    takes_graded_scores: ClassVar[bool] = False  # a softmax over positives cannot express them

    def __init__(
        self, l2_weight: float = 0.002, distance_metric_name: Distance | str | None = Distance.DOT_PRODUCT
    ) -> None:
        super().__init__(distance_metric_name)
        if not l2_weight >= 0:
            raise ValueError(f"l2_weight must not be negative, got {l2_weight}")
        self.l2_weight = l2_weight

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        result = contrast(queries, documents, relation, scorer, each_positive, tile_bytes=self.tile_bytes)
        norms = (_mean_squared_norm(queries) + _mean_squared_norm(documents)) / 2
        return LossResult(result.value + self.l2_weight * norms, 1, result.counts)


def _mean_squared_norm(embeddings: Embeddings) -> Tensor:
    values = embeddings.values.to(at_least_single(embeddings.values))
    if embeddings.mask is not None:
        values = values.masked_fill(~embeddings.mask[..., None], 0.0)
    return values.square().sum() / max(len(values), 1)
