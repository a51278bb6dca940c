"""Metrics of rankings, as pure functions: a value for each query.

All are defined as trec_eval defines them, in float64. A list shorter than the cut-off is taken for all that was found.
A query without any relevant document has no value: it is NaN here, and `Figure` counts it; trec_eval gives it 0.
Averages therefore never hide it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from simlearn.evaluation.rankings.ranking import Ranking

Gain = Literal["linear", "exponential"]


def precision(ranking: Ranking, k: int) -> Tensor:
    """The share of the first k places that hold a relevant document.

    Args:
        ranking: N queries.
        k: at least 1; the divisor, even where fewer documents were found (trec_eval's `P_k`).

    Returns:
        (N,) float64 in [0, 1].
    """
    return _defined(ranking, _hits(ranking, k) / k)


def recall(ranking: Ranking, k: int) -> Tensor:
    """The share of the relevant documents that stand in the first k places: (N,) in [0, 1] (`recall_k`)."""
    return _defined(ranking, _hits(ranking, k) / ranking.n_relevant)


def hit_rate(ranking: Ranking, k: int) -> Tensor:
    """1 where a relevant document stands in the first k places, else 0: (N,) (`success_k`; CMC at rank k)."""
    return _defined(ranking, (_hits(ranking, k) > 0).double())


def cmc_curve(ranking: Ranking) -> Tensor:
    """The cumulative match characteristic: (N, K), at place j whether a relevant document stands at j or before."""
    return _defined(ranking, ranking.relevant.cumsum(1).clamp(max=1).double())


def reciprocal_rank(ranking: Ranking, k: int | None = None) -> Tensor:
    """1 / the place of the first relevant document, 0 where none stands in the first k: (N,) in [0, 1] (`recip_rank`).

    Args:
        ranking: N queries.
        k: the cut-off; None for the whole list.
    """
    relevant = _first(ranking.relevant, k).double()
    places = _places(relevant)
    best = (relevant / places).amax(1) if relevant.shape[1] else relevant.new_zeros(len(relevant))
    return _defined(ranking, best)


def average_precision(ranking: Ranking, k: int | None = None) -> Tensor:
    """The precision at each relevant document, averaged over all relevant ones: (N,) in [0, 1] (`map`, `map_cut_k`).

    Relevant documents that are not found, or beyond the cut-off, count as 0. sentence-transformers divides by
    min(k, number of relevant documents) instead, which is larger where k is small.

    Args:
        ranking: N queries.
        k: the cut-off; None for the whole list.
    """
    relevant = _first(ranking.relevant, k).double()
    precisions = relevant.cumsum(1) / _places(relevant)
    return _defined(ranking, (precisions * relevant).sum(1) / ranking.n_relevant)


def map_at_r(ranking: Ranking) -> Tensor:
    """Average precision over the first R places, R being the query's number of relevant documents: (N,) in [0, 1].

    Musgrave et al., A Metric Learning Reality Check (2020). The list must reach R places to be exact.
    """
    relevant = ranking.relevant.double()
    within = _places(relevant) <= ranking.n_relevant[:, None]
    precisions = relevant.cumsum(1) / _places(relevant)
    return _defined(ranking, (precisions * relevant * within).sum(1) / ranking.n_relevant)


def r_precision(ranking: Ranking) -> Tensor:
    """The precision at R, the query's number of relevant documents: (N,) in [0, 1] (`Rprec`)."""
    relevant = ranking.relevant.double()
    within = _places(relevant) <= ranking.n_relevant[:, None]
    return _defined(ranking, (relevant * within).sum(1) / ranking.n_relevant)


def ndcg(ranking: Ranking, k: int | None = None, gain: Gain = "linear") -> Tensor:
    """Discounted cumulative gain Σ gain / log2(place + 1), over that of a perfect ranking: (N,) in [0, 1].

    Grades below 0 gain nothing. The relevance level plays no part.

    Args:
        ranking: N queries.
        k: the cut-off of both rankings; None for the whole list (`ndcg_cut_k`, `ndcg`).
        gain: `"linear"`, the grade (Järvelin and Kekäläinen 2002; trec_eval), or `"exponential"`, 2^grade - 1 (Burges
            et al. 2005), which weighs high grades more.

    Returns:
        (N,) float64; NaN where no grade is above 0.
    """
    gains = _gains(_first(ranking.grades, k), gain)
    found = (gains / torch.log2(_places(gains) + 1)).sum(1)
    ideal = ranking.ideal_dcg(_gains(ranking.judged, gain), k)
    return torch.where(ideal > 0, found / ideal, torch.nan)


def _gains(grades: Tensor, gain: Gain) -> Tensor:
    if gain not in ("linear", "exponential"):
        raise ValueError(f"gain must be 'linear' or 'exponential', got {gain!r}")
    positive = grades.clamp(min=0).double()
    return positive if gain == "linear" else torch.exp2(positive) - 1


def _first(values: Tensor, k: int | None) -> Tensor:
    if k is not None and k < 1:
        raise ValueError(f"a cut-off must be at least 1, got {k}")
    return values if k is None else values[:, :k]


def _hits(ranking: Ranking, k: int) -> Tensor:
    return _first(ranking.relevant, k).sum(1).double()


def _places(values: Tensor) -> Tensor:
    """(K,) places from 1."""
    return torch.arange(1, values.shape[1] + 1, dtype=torch.float64, device=values.device)


def _defined(ranking: Ranking, values: Tensor) -> Tensor:
    has_relevant = (ranking.n_relevant > 0).view(-1, *[1] * (values.ndim - 1))
    return torch.where(has_relevant, values, torch.nan)
