"""Positives pulled together and negatives pushed apart, found within the batch."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.losses.tiling import mine_hardest, tiled_loss
from simlearn.relations import Relation
from simlearn.scoring import Scorer

Mining = Literal["all", "hard"]


class OnlineContrastiveLoss(SimilarityLoss):
    """Half the mean distance of positives and half the mean lack of margin of negatives (Quaterion).

    Distances are not squared, unlike those of `ContrastiveLoss` (Hadsell et al. 2006), so that hard pairs do not drown
    the others. An object is no negative of itself.

    Args:
        margin: how far negatives should be; for cosine in units of 1 − cos, in [0, 2].
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        mining: `"hard"` takes the hardest positive and the hardest negative of each anchor, `"all"` every pair.

    Raises:
        ValueError: for an unknown mining or a margin of 0 or less.
    """

    takes_memory: ClassVar[bool] = True
    takes_graded_scores: ClassVar[bool] = False  # ContrastiveLoss takes them

    def __init__(
        self, margin: float = 0.5, distance_metric_name: Distance | str | None = None, mining: Mining = "hard"
    ) -> None:
        super().__init__(distance_metric_name)
        if mining not in get_args(Mining):
            raise ValueError(f"mining must be one of {', '.join(get_args(Mining))}, got {mining!r}")
        if not margin > 0:
            raise ValueError(f"margin must be above 0, got {margin}")
        self.margin = margin
        self.mining = mining

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        if self.mining == "hard" and len(documents):  # nothing has no maximum
            return self._hard(queries, documents, relation, scorer)
        tiled = partial(tiled_loss, queries, documents, relation, scorer, by_distance=True, tile_bytes=self.tile_bytes)
        pull, push = tiled(policy=pull_all), tiled(policy=partial(push_all, margin=self.margin))
        return LossResult((pull.value + push.value) / 2, 1, pull.counts)

    def _hard(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """Two distances an anchor: found without a gradient, then measured with one."""
        found = mine_hardest(queries, documents, relation, scorer, self.tile_bytes)
        farthest = scorer.paired_distances(queries, documents.take(found.positives))
        nearest = scorer.paired_distances(queries, documents.take(found.negatives))
        pull = _mean(farthest, found.has_positive)
        push = _mean(F.relu(self.margin - nearest), found.has_negative)
        return LossResult((pull + push) / 2, 1, anchor_counts(found.has_positive, found.has_negative))


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def pull_all(distances: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
    """The mean distance of all positives; the counts of anchors without a positive or a negative."""
    total = torch.where(positives, distances, 0.0).sum()
    return LossResult(total, positives.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def push_all(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> LossResult:
    """The mean of what all negatives lack to the margin; the counts of anchors without a positive or a negative."""
    total = torch.where(negatives, F.relu(margin - distances), 0.0).sum()
    return LossResult(total, negatives.sum(), anchor_counts(positives.any(1), negatives.any(1)))
