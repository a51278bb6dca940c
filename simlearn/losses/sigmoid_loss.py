"""A yes or no for every pair of query and document."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.checks import refuse_graded_pairs
from simlearn.losses.comparisons import pairwise_sigmoid
from simlearn.losses.similarity_loss import ALL_RELATIONS, LossResult, SimilarityLoss
from simlearn.losses.tiling import tiled_loss
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import Scorer


class SigmoidLoss(SimilarityLoss):
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

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    takes_memory: ClassVar[bool] = True

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

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses graded scores of pairs, which are neither alike nor not."""
        return partial(refuse_graded_pairs, name=type(self).__name__)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""

        def policy(scores: Tensor, positives: Tensor, negatives: Tensor, log_scale: Tensor, bias: Tensor) -> LossResult:
            return pairwise_sigmoid(scores * log_scale.exp() + bias, positives, negatives)

        learnt = (self.log_scale, self.bias)
        return tiled_loss(queries, documents, relation, scorer, policy, *learnt, tile_bytes=self.tile_bytes)
