"""Classification among more classes than a step can score."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import UNUSED, ClassLoss
from simlearn.losses.classification import cross_entropy
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer


class SampledSoftmaxLoss(ClassLoss):
    """`SoftmaxLoss` for up to millions of classes: over those of the batch and a random sample of the others.

    Every class is in the sample with the same probability q, and the logit of a sampled one is raised by −log q, so
    that the denominator has the right expectation (Jean et al. 2015; Bengio and Senécal 2008); with all classes in the
    sample it is exactly `SoftmaxLoss`. The sample follows from `seed` and a count of steps that is in the state, so it
    is the same on every process, and a run that resumes goes on as it would have. In eval mode all classes are scored,
    which takes (N, C) numbers.

    Args:
        embedding_size: D, the length of the model's embeddings.
        num_groups: C, the number of classes.
        num_sampled: how many classes to draw each step.
        temperature: the logits are divided by it.
        classes: the groups or labels, for streams; `simlearn.fit` finds them otherwise.
        sparse: gradients of the class vectors as sparse tensors, which the default optimiser gives to a `SparseAdam`;
            an optimiser of yours must take them. Otherwise they are as large as the vectors, and zero for most.
        seed: of the samples.

    Raises:
        ValueError: for sizes below 1 or a temperature of 0 or less.
    """

    steps: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_groups: int,
        num_sampled: int = 8192,
        temperature: float = 0.05,
        classes: Iterable[Hashable] | None = None,
        sparse: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(embedding_size, num_groups, classes)
        if num_sampled < 1:
            raise ValueError(f"num_sampled must be at least 1, got {num_sampled}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.num_sampled = num_sampled
        self.temperature = temperature
        self.sparse = sparse
        self.seed = seed
        # Rows, unlike in other class losses: of a million only some are read.
        self.kernel = nn.Parameter(torch.empty(num_groups, embedding_size))
        nn.init.normal_(self.kernel, std=0.01)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def truncated(self, size: int) -> dict[str, Tensor]:
        """The first `size` values of each class vector."""
        return {"kernel": self.kernel[:, :size]}

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The mean over the objects that have a class; what is no class is skipped and counted."""
        members = self.members(relation)
        used, step = torch.stack([(self.class_ids != UNUSED).sum(), self.steps]).tolist()
        if self.training:
            self.steps += 1
            present = torch.unique(members.classes[members.known])
            sampled, raised = self.sample(used, step)
            members = members._replace(
                classes=torch.searchsorted(present, members.classes).clamp(max=max(len(present) - 1, 0))
            )
        else:
            present = torch.arange(used, device=queries.device)
            sampled, raised = present[:0], 0.0
        counts = self.counts(relation, members)
        if not len(present):  # nothing to learn from, but a zero that stays in the graph
            return LossResult(queries.values[:0].float().sum() + self.kernel[:0].sum(), 0, counts)
        with torch.autocast(queries.device.type, enabled=False):
            dtype = at_least_single(queries.values, self.kernel)
            rows = F.embedding(torch.cat([present, sampled]), self.kernel, sparse=self.sparse).to(dtype)
            logits = queries.values.to(dtype) @ rows.T / self.temperature
            own, others = logits[:, : len(present)], logits[:, len(present) :]
            others = (others + raised).masked_fill(torch.isin(sampled, present), -torch.inf)
            total = cross_entropy(torch.cat([own, others], dim=1), members)
        return LossResult(total, (members.counts > 0).sum(), counts)

    def sample(self, used: int, step: int) -> tuple[Tensor, float]:
        """Distinct classes of the first `used`, each as likely as any other, and −log of their probability.

        The multiples of a random number that has no divisor in common with the number of classes, from a random start,
        meet every class once; the first of them are a sample that costs no pass over all classes.
        """
        size = min(self.num_sampled, used)
        if size == used:
            return torch.arange(used, device=self.class_ids.device), 0.0
        generator = random.Random(f"{self.seed} {step}")
        start, stride = generator.randrange(used), generator.randrange(1, used)
        while math.gcd(stride, used) != 1:
            stride = generator.randrange(1, used)
        sampled = (start + stride * torch.arange(size, device=self.class_ids.device)) % used
        return sampled, math.log(used / size)
