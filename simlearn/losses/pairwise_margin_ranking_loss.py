"""The candidates of each query, two at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.losses.loss_result import LossResult
from simlearn.losses.ranking_loss import Candidates, RankingLoss
from simlearn.precision import double_on
from simlearn.ragged import entries

_PAIR_BYTES = 128
"""What two candidates take, about, while they are compared."""


class PairwiseMarginRankingLoss(RankingLoss):
    """Scores each candidate above those of lower relevance, by a margin or logistically.

    `relu(margin − (s_hi − s_lo))` over any two candidates of a query with different relevances; without a margin
    `softplus(−(s_hi − s_lo))` (Burges et al. 2005, RankNet). How much the relevances differ does not matter. The mean
    is over the pairs of a query and then over the queries, so that a long list counts no more than a short one; queries
    whose relevances are all equal add a zero and are counted.

    Pairs are compared in blocks of at most `tile_bytes`, whose gradient is taken at once: it has no second derivative.

    Args:
        margin: by how much; for cosine in units of it. None for the logistic form.
        scale: multiplied with the scores; 20 suits the logistic form beside the cosine.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.

    Raises:
        ValueError: for a margin or a scale of 0 or less.
    """

    def __init__(
        self,
        margin: float | None = 0.1,
        scale: float = 1.0,
        distance_metric_name: Distance | str | None = None,
    ) -> None:
        super().__init__(distance_metric_name)
        if margin is not None and not margin > 0:
            raise ValueError(f"margin must be above 0, or None for the logistic form, got {margin}")
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.margin = margin
        self.scale = scale

    def rank(self, candidates: Candidates) -> LossResult:
        """The mean over the queries with candidates of different relevance."""
        scores = (self.scale * candidates.scores).detach()
        wide = double_on(scores.device)  # 6000 candidates have 2**24 pairs
        totals, pairs = torch.zeros_like(candidates.counts, dtype=wide), torch.zeros_like(candidates.counts)
        gradient = torch.zeros_like(scores)
        for first, second in _pairs(candidates, max(1, self.tile_bytes // _PAIR_BYTES)):
            owners, direction = candidates.owners[first], _direction(candidates.relevances, first, second)
            terms, slopes = self._terms(direction * (scores[first] - scores[second]))
            slopes = slopes * direction
            totals.index_add_(0, owners, (terms * direction.abs()).to(wide))
            pairs.index_add_(0, owners, direction.ne(0).long())
            gradient.index_add_(0, first, slopes).index_add_(0, second, slopes, alpha=-1)
        compared = pairs.clamp(min=1)
        gradient = gradient / compared[candidates.owners]
        # The value of the pairs, with the gradient that was taken of them.
        product = candidates.sum(gradient * self.scale * candidates.scores)
        terms = (totals / compared).to(scores.dtype) + (product - product.detach())
        ordered = pairs > 0
        return candidates.mean_of(terms, ordered, queries_of_one_relevance=(~ordered & candidates.chosen_from).sum())

    def _terms(self, gaps: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of each gap, and its derivative."""
        if self.margin is None:
            return F.softplus(-gaps), -torch.sigmoid(-gaps)
        return F.relu(self.margin - gaps), -(gaps < self.margin).to(gaps.dtype)


def _direction(relevances: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """1 where the first is the more relevant, -1 where the second is, 0 where neither.

    Relevances are compared, not subtracted: the difference of two huge ones would be infinite.
    """
    high, low = relevances[first], relevances[second]
    return (high > low).to(relevances.dtype) - (high < low).to(relevances.dtype)


def _pairs(candidates: Candidates, most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Any two candidates of one query, each pair once, in blocks of at most `most` pairs and one candidate's more."""
    rows = torch.arange(len(candidates.owners), device=candidates.owners.device)
    # Each candidate is compared with those after it; its pairs are numbered up to `ends`.
    after = candidates.offsets[1:][candidates.owners] - rows - 1
    ends = after.cumsum(0)
    blocks = -(-int(after.sum()) // most)
    limits = most * (1 + torch.arange(max(0, blocks - 1), device=rows.device))
    starts = [0, *torch.searchsorted(ends, limits, right=True).tolist(), len(rows)]
    for start, stop in pairwise(starts):
        if start == stop:
            continue
        first, place = entries(after[start:stop])
        yield first + start, first + start + 1 + place
