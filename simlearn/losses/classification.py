"""Cross-entropy over classes, of which an object may have several."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import UNUSED, ClassLoss, Members
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


def cross_entropy(logits: Tensor, members: Members) -> Tensor:
    """The sum over objects of the cross-entropy with a target that is uniform over the object's classes.

    Args:
        logits: (N, C); -inf, by `masked_fill`, for what is no class.
        members: the classes of the N objects.

    Returns:
        A scalar in the graph; objects without a class add 0.
    """
    terms = -logits.log_softmax(1)[members.owners, members.classes]
    return members.mean(terms).sum()


class MarginSoftmaxLoss(ClassLoss):
    """The base of cross-entropies over the cosines with class vectors, made harder for the object's own classes.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        scale: multiplied with the cosines.
        classes: the groups or labels; see `ClassLoss`.
        vectors: K vectors a class, of which the nearest counts.

    Raises:
        ValueError: for sizes below 1 or a scale of 0 or less.
    """

    compares_across_batch: ClassVar[bool] = False

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        scale: float,
        classes: Iterable[Hashable] | None = None,
        vectors: int = 1,
    ) -> None:
        super().__init__(embedding_size, num_groups, classes)
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.scale = scale
        self.vectors = vectors
        self.kernel = nn.Parameter(torch.empty(embedding_size, num_groups * vectors))
        nn.init.normal_(self.kernel, std=embedding_size**-0.5)

    def harder(self, cosines: Tensor, classes: Tensor) -> Tensor:
        """The cosines (L,) of objects with their own classes (L,), lowered by the margin."""
        raise NotImplementedError(f"{type(self).__name__} must define harder")

    def cosines(self, values: Tensor) -> Tensor:
        """(N, C): of embeddings (N, D) with the nearest vector of each class, in at least fp32."""
        dtype = at_least_single(values, self.kernel)
        products = normalize(values.to(dtype)) @ normalize(self.kernel.to(dtype).T).T
        return products.reshape(len(values), self.num_groups, self.vectors).amax(2)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The mean over the objects that have a class; what is no class is skipped and counted."""
        members = self.members(relation)
        with torch.autocast(queries.device.type, enabled=False):
            cosines = self.cosines(queries.values)
            own = cosines[members.owners, members.classes]
            change = torch.where(members.known, self.harder(own, members.classes) - own, 0.0)
            # Added rather than put: what is not known may have landed on a class that is.
            logits = self.scale * cosines.index_put((members.owners, members.classes), change, accumulate=True)
            total = cross_entropy(logits.masked_fill(self.class_ids == UNUSED, -torch.inf), members)
        return LossResult(total, (members.counts > 0).sum(), self.counts(relation, members))
