"""Embeddings drawn to the centre of their class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import ClassLoss
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class CenterLoss(ClassLoss):
    """The squared distance of each embedding, at unit length, to the learnt centre of its class.

    Wen et al. 2016: A Discriminative Feature Learning Approach for Deep Face Recognition. Nothing in it keeps classes
    apart, and alone it is solved by one point for all: add it to a loss that does, as in
    `SumLoss([SoftmaxLoss(...), CenterLoss(...)])`. The squares are averaged over the D values too, as in Quaterion,
    so its share in a sum falls with D. An object with several labels is drawn to all of their centres.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        lambda_c: multiplied with the loss.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise.

    Raises:
        ValueError: for sizes below 1 or a `lambda_c` of 0 or less.
    """

    needs_negatives: ClassVar[bool] = False
    compares_across_batch: ClassVar[bool] = False

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        lambda_c: float = 0.5,
        classes: Iterable[Hashable] | None = None,
    ) -> None:
        super().__init__(embedding_size, num_groups, classes)
        if not lambda_c > 0:
            raise ValueError(f"lambda_c must be above 0, got {lambda_c}")
        self.lambda_c = lambda_c
        self.kernel = nn.Parameter(torch.empty(embedding_size, num_groups))
        nn.init.normal_(self.kernel, std=embedding_size**-0.5)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The mean over the objects that have a class; what is no class is skipped and counted."""
        members = self.members(relation)
        with torch.autocast(queries.device.type, enabled=False):
            dtype = at_least_single(queries.values, self.kernel)
            units: Tensor = normalize(queries.values.to(dtype))[members.owners]
            centers = self.kernel.to(dtype).T[members.classes]
            total = self.lambda_c * members.mean((units - centers).square().mean(1)).sum()
        return LossResult(total, (members.counts > 0).sum(), self.counts(relation, members))
