"""Anchors nearer to their positives than to their negatives."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.hashing.mixing import mixed
from simlearn.losses.loss_result import LossResult, anchor_counts
from simlearn.losses.mask_loss import MaskLoss
from simlearn.losses.tiling import mine_hardest, tiled_loss
from simlearn.relations import Relation
from simlearn.scoring import Scorer

Mining = Literal["all", "random", "hard", "semi_hard"]
Average = Literal["violating", "all"]


class TripletLoss(MaskLoss):
    """Wants every negative farther from the anchor than its positives, by a margin.

    Args:
        margin: how much farther. With cosine distance, 1 − cos, 0.3 is a good start; 1.0 asks for more than most data
            can give and trains badly. With `mining="hard"` it is in units of the mean hardest negative.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        mining: `"hard"` takes the hardest positive and negative of each anchor, `"semi_hard"` for each positive the
            nearest negative beyond it, `"all"` every triplet, `"random"` those of a few negatives of each anchor.
        soft: softplus instead of the margin; only with `mining="hard"`.
        average: with `mining="all"` or `"random"`: over the triplets that violate the margin, or over `"all"`, as qdrl
            does. Over all of them the loss fades as fewer violate it.
        num_negatives: with `mining="random"`: how many negatives of each anchor are drawn, anew in each step; all
            where there are fewer.
        seed: where they come from; what is drawn depends on it and on how often the loss was computed in training,
            which is part of its state.

    Raises:
        ValueError: for an unknown mining or average, a negative margin, and options that go with another mining.
    """

    takes_graded_scores: ClassVar[bool] = True
    by_distance: ClassVar[bool] = True
    steps: Tensor
    temporaries: ClassVar[int] = 40  # sorting holds the int64 places of what is sorted, too; measured

    def __init__(
        self,
        margin: float = 0.3,
        distance_metric_name: Distance | str | None = None,
        mining: Mining = "hard",
        soft: bool = False,
        average: Average = "violating",
        num_negatives: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(distance_metric_name)
        if mining not in get_args(Mining):
            raise ValueError(f"mining must be one of {', '.join(get_args(Mining))}, got {mining!r}")
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        if soft and mining != "hard":
            raise ValueError(f"soft works with mining='hard' only, not with {mining!r}")
        if average not in get_args(Average):
            raise ValueError(f"average must be one of {', '.join(get_args(Average))}, got {average!r}")
        if average != "violating" and mining not in ("all", "random"):
            raise ValueError(f"average goes with mining='all' or 'random', not with {mining!r}")
        if (mining == "random") != (num_negatives is not None) or (num_negatives is not None and num_negatives < 1):
            raise ValueError(
                f"num_negatives, at least 1, goes with mining='random'; got {num_negatives} with mining={mining!r}"
            )
        self.margin = margin
        self.mining = mining
        self.soft = soft
        self.average = average
        self.num_negatives = num_negatives
        self.seed = seed
        if mining == "random":
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor, seeds: Tensor | None = None) -> LossResult:
        """See `triplet_all`, `triplet_semi_hard` and `triplet_hard`, by distance.

        Args:
            scores: (r, M) distances.
            positives: (r, M) bool.
            negatives: (r, M) bool.
            seeds: (r,) of the negatives that are drawn for each row; None takes those of the step.
        """
        if self.mining == "hard":
            return triplet_hard(scores, positives, negatives, self.margin, self.soft)
        if self.mining == "semi_hard":
            return triplet_semi_hard(scores, positives, negatives, self.margin)
        if self.num_negatives is not None:
            negatives = drawn(negatives, self.num_negatives, self.seeds(scores) if seeds is None else seeds)
        return triplet_all(scores, positives, negatives, self.margin, self.average)

    def seeds(self, queries: Tensor) -> Tensor:
        """(N,) int64, for the rows of N queries; others in each step.

        They depend on nothing but seed and step, so that where a batch is cut, into processes or tiles, or where a run
        was interrupted, changes nothing that is drawn.
        """
        return mixed(torch.arange(len(queries), device=queries.device), self.seed, int(self.steps))

    def _next_seeds(self, queries: Tensor) -> Tensor:
        seeds = self.seeds(queries)
        if self.training:
            self.steps += 1
        return seeds

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        if self.mining == "random":
            return tiled_loss(
                queries,
                documents,
                relation,
                scorer,
                self.policy,
                per_row=[self._next_seeds(queries.values)],
                by_distance=True,
                tile_bytes=self.tile_bytes,
                temporaries=self.temporaries,
            )
        if self.mining != "hard":
            return super().compute(queries, documents, relation, scorer)
        if not len(documents):  # nothing has no maximum
            nothing = torch.zeros(len(queries), 0, dtype=torch.bool, device=queries.device)
            return self.policy(scorer.distances(queries, documents), nothing, nothing)
        # Two distances an anchor: found without a gradient, then measured with one.
        found = mine_hardest(queries, documents, relation, scorer, self.tile_bytes)
        farthest = scorer.paired_distances(queries, documents.take(found.positives))
        nearest = scorer.paired_distances(queries, documents.take(found.negatives))
        return hardest_triplets(farthest, nearest, found.has_positive, found.has_negative, self.margin, self.soft)


def triplet_hard(
    distances: Tensor, positives: Tensor, negatives: Tensor, margin: float, soft: bool = False, eps: float = 1e-6
) -> LossResult:
    """The hardest positive and the hardest negative of each anchor (Hermans et al. 2017).

    The difference is divided by the mean distance of the hardest negatives (Quaterion): where all embeddings move
    together the loss rises, which keeps the space from collapsing into a point. Of distances that may be negative, as
    that of the dot product, the mean is over their absolute values.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther the negative should be, in units of the mean hardest negative.
        soft: softplus of the plain difference instead of a margin.
        eps: the least value divided by.

    Returns:
        The mean over the anchors with both, and the counts of those without.
    """
    has_positive, has_negative = positives.any(1), negatives.any(1)
    if not distances.shape[1]:  # nothing has no maximum
        return LossResult(distances.sum(), 0, anchor_counts(has_positive, has_negative))
    hardest_positive = distances.masked_fill(~positives, -torch.inf).amax(1)
    hardest_negative = distances.masked_fill(~negatives, torch.inf).amin(1)
    return hardest_triplets(hardest_positive, hardest_negative, has_positive, has_negative, margin, soft, eps)


def hardest_triplets(
    hardest_positive: Tensor,
    hardest_negative: Tensor,
    has_positive: Tensor,
    has_negative: Tensor,
    margin: float,
    soft: bool = False,
    eps: float = 1e-6,
) -> LossResult:
    """`triplet_hard` of distances (N,) that were found already, and whether each anchor has them (N,)."""
    valid = has_positive & has_negative
    hardest_positive = torch.where(valid, hardest_positive, 0.0)
    hardest_negative = torch.where(valid, hardest_negative, 0.0)
    gap = hardest_positive - hardest_negative
    if soft:
        terms = F.softplus(gap)
    else:
        scale = hardest_negative.abs().sum() / valid.sum().clamp(min=1)
        terms = F.relu(gap / scale.clamp(min=eps) + margin)
    return LossResult(torch.where(valid, terms, 0.0).sum(), valid.sum(), anchor_counts(has_positive, has_negative))


def drawn(mask: Tensor, count: int, seeds: Tensor) -> Tensor:
    """(N, M) bool: of what each row has under a mask so many at random, all where it has fewer; by seeds (N,)."""
    keys = mixed(seeds[:, None] + torch.arange(mask.shape[1], device=mask.device))
    keys = keys.masked_fill_(~mask, torch.iinfo(torch.int64).max)
    columns = keys.topk(min(count, mask.shape[1]), dim=1, largest=False).indices
    return torch.zeros_like(mask).scatter_(1, columns, True) & mask


def triplet_all(
    distances: Tensor, positives: Tensor, negatives: Tensor, margin: float, average: Average = "violating"
) -> LossResult:
    """All triplets that violate the margin, averaged over those that do, or over all.

    For anchor a and positive p the violating negatives are those nearer than `d(a, p) + margin`: a prefix of the sorted
    negatives, whose sum is a prefix sum. So N × M numbers are enough where the triplets are N × M × M.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther every negative should be.
        average: see `TripletLoss`.

    Returns:
        The mean, and the counts of anchors without a positive or a negative.
    """
    ascending = distances.masked_fill(~negatives, torch.inf).sort(dim=1).values
    sums = F.pad(torch.where(ascending.isinf(), 0.0, ascending).cumsum(1), (1, 0))
    limits = distances + margin
    # A negative at the limit itself adds zero and is no violation.
    violating = torch.searchsorted(ascending.detach().contiguous(), limits.detach().contiguous(), right=False)
    violating = violating.minimum(negatives.sum(1, keepdim=True)) * positives
    terms = violating * limits - sums.gather(1, violating)
    total = torch.where(positives, terms, 0.0).sum()
    divisor = violating if average == "violating" else positives.sum(1) * negatives.sum(1)
    return LossResult(total, divisor.sum(), anchor_counts(positives.any(1), negatives.any(1)))


def triplet_semi_hard(distances: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> LossResult:
    """For each anchor and positive the nearest negative beyond the positive (FaceNet, Schroff et al. 2015).

    Where every negative is nearer than the positive, the farthest one is taken.

    Args:
        distances: (N, M).
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: how much farther the negative should be.

    Returns:
        The mean over all anchors' positives, and the counts of anchors without a positive or a negative.
    """
    has_negative = negatives.any(1, keepdim=True)
    ascending = distances.masked_fill(~negatives, torch.inf).sort(dim=1).values
    farther = torch.searchsorted(ascending.detach().contiguous(), distances.detach().contiguous(), right=True)
    last = (negatives.sum(1, keepdim=True) - 1).clamp(min=0)
    chosen = ascending.gather(1, farther.minimum(last))
    valid = positives & has_negative
    chosen = torch.where(valid, chosen, 0.0)
    terms = torch.where(valid, F.relu(distances - chosen + margin), 0.0)
    return LossResult(terms.sum(), valid.sum(), anchor_counts(positives.any(1), negatives.any(1)))
