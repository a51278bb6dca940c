"""Objects nearer to the centre of their own class than to that of any other."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.forward_losses import GroupLoss
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.tiling import mine_hardest
from simlearn.precision import at_least_single
from simlearn.relations import Relation, RelationKind
from simlearn.relations.judgements import PairJudgements
from simlearn.scoring import Scorer


class CentroidTripletLoss(GroupLoss):
    """Wants the nearest other class's centroid farther from each object than its own class's (Wieczorek et al. 2021).

    A centroid is the mean of a class's embeddings in the batch. Its own an object is compared with is that of the
    others of its class, as it would be its own neighbour otherwise.

    Args:
        margin: how much farther; for cosine in units of 1 − cos.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine. The paper
            has the squared Euclidean distance, which of unit vectors is twice that of cosine.

    Raises:
        ValueError: for a negative margin.
    """

    takes_memory: ClassVar[bool] = True

    def __init__(self, margin: float = 0.3, distance_metric_name: Distance | str | None = None) -> None:
        super().__init__(distance_metric_name)
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        self.margin = margin

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of groups; objects of many vectors have no mean and raise a ValueError."""
        if relation.groups is None:
            raise TypeError(f"{type(self).__name__} takes groups, got {relation.kind}")
        if queries.is_multi_vector:
            raise ValueError(f"{type(self).__name__} takes the mean of one vector an object, these have many")
        values = queries.values.to(at_least_single(queries.values))
        members = documents.values.to(values.dtype)
        classes, member_of, sizes = torch.unique(relation.groups, return_inverse=True, return_counts=True)
        class_of = member_of[: len(values)]  # queries are the first documents
        has_positive = sizes[class_of] > 1
        has_negative = torch.full_like(has_positive, len(classes) > 1)
        if not len(values):
            return LossResult(values.sum(), 0, anchor_counts(has_positive, has_negative))
        sums = values.new_zeros(len(classes), values.shape[1]).index_add(0, member_of, members)
        centroids = Embeddings(sums / sizes[:, None])
        others = (sums[class_of] - members[: len(values)]) / (sizes[class_of] - 1).clamp(min=1)[:, None]
        anchors = Embeddings(values)
        nearest = mine_hardest(anchors, centroids, _of_classes(class_of, len(classes)), scorer, self.tile_bytes)
        own = scorer.paired_distances(anchors, Embeddings(others))
        other = scorer.paired_distances(anchors, centroids.take(nearest.negatives))
        valid = has_positive & has_negative
        terms = torch.where(valid, F.relu(own - other + self.margin), 0.0)
        return LossResult(terms.sum(), valid.sum(), anchor_counts(has_positive, has_negative))


def _of_classes(class_of: Tensor, n_classes: int) -> Relation:
    """Objects as queries and classes as documents: all classes but its own are different from an object."""
    return Relation(
        RelationKind.PAIRS,
        len(class_of),
        n_classes,
        *PairJudgements.none(class_of.device),
        query_subgroups=class_of + 1,  # 0 beside 0 would say nothing
        document_subgroups=torch.arange(n_classes, device=class_of.device) + 1,
    )
