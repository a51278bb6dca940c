"""Learnt proxies of the classes as anchors, the objects of the batch as their positives and negatives."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import UNUSED, ClassLoss
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class ProxyAnchorLoss(ClassLoss):
    """Draws objects to the proxies of their classes and pushes them from all others, the hardest most.

    Proxy Anchor Loss for Deep Metric Learning (Kim et al. 2020). An object with several labels is a positive of all
    their proxies; an object without any class takes no part.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        margin: how far the cosines should be above, or below, 0.
        scale: how much the hardest objects count.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise.

    Raises:
        ValueError: for sizes below 1, a negative margin, or a scale of 0 or less.
    """

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        margin: float = 0.1,
        scale: float = 32.0,
        classes: Iterable[Hashable] | None = None,
    ) -> None:
        super().__init__(embedding_size, num_groups, classes)
        if not margin >= 0 or not scale > 0:
            raise ValueError(f"margin must not be negative and scale must be above 0, got {margin} and {scale}")
        self.margin = margin
        self.scale = scale
        self.kernel = nn.Parameter(torch.empty(embedding_size, num_groups))
        nn.init.normal_(self.kernel, std=embedding_size**-0.5)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The mean over proxies with a positive in the batch plus the mean over all proxies of their negatives."""
        members = self.members(relation)
        positives = torch.zeros(members.size, self.num_groups, dtype=torch.long, device=queries.device)
        cells = (members.owners, members.classes)
        positives = positives.index_put(cells, members.known.long(), accumulate=True) > 0
        used = self.class_ids != UNUSED
        negatives = ~positives & used & (members.counts > 0)[:, None]
        with torch.autocast(queries.device.type, enabled=False):
            dtype = at_least_single(queries.values, self.kernel)
            cosines = normalize(queries.values.to(dtype)) @ normalize(self.kernel.to(dtype).T).T
            near = _softplus_of_all(self.scale * (self.margin - cosines), positives)
            far = _softplus_of_all(self.scale * (self.margin + cosines), negatives)
            total = near.sum() / positives.any(0).sum().clamp(min=1) + far.sum() / used.sum().clamp(min=1)
        return LossResult(total, 1, self.counts(relation, members))


def _softplus_of_all(terms: Tensor, mask: Tensor) -> Tensor:
    """(C,): log(1 + Σ exp) over the rows of (N, C) where the mask holds, 0 where it never does."""
    return torch.logsumexp(F.pad(terms.masked_fill(~mask, -torch.inf), (0, 0, 0, 1)), dim=0)
