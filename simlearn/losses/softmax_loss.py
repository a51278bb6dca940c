"""Classification as a way to embeddings."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import UNUSED, ClassLoss
from simlearn.losses.classification import cross_entropy
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class SoftmaxLoss(ClassLoss):
    """Cross-entropy over one learnt vector a class; nothing is normalised.

    For an object with several labels the target is uniform over them.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        temperature: the logits are divided by it.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise.

    Raises:
        ValueError: for sizes below 1 or a temperature of 0 or less.
    """

    compares_across_batch: ClassVar[bool] = False

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        temperature: float = 0.05,
        classes: Iterable[Hashable] | None = None,
    ) -> None:
        super().__init__(embedding_size, num_groups, classes)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.kernel = nn.Parameter(torch.empty(embedding_size, num_groups))
        nn.init.normal_(self.kernel, std=0.01)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The mean over the objects that have a class; what is no class is skipped and counted."""
        members = self.members(relation)
        total = cross_entropy(self._logits(queries.values), members)
        return LossResult(total, (members.counts > 0).sum(), self.counts(relation, members))

    def _logits(self, values: Tensor) -> Tensor:
        """(N, C), in at least fp32 under autocast too."""
        with torch.autocast(values.device.type, enabled=False):
            dtype = at_least_single(values, self.kernel)
            logits = values.to(dtype) @ self.kernel.to(dtype) / self.temperature
            return logits.masked_fill(self.class_ids == UNUSED, -torch.inf)
