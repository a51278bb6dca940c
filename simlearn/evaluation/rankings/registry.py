"""Metrics by name: "recall@10", "ndcg@10", "mrr"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from simlearn.evaluation.rankings import metrics
from simlearn.evaluation.rankings.ranking import Ranking


@dataclass(frozen=True)
class RetrievalMetric:
    """A metric of rankings with its cut-off.

    Args:
        name: as `retrieval_metric` parses it.
        function: from a ranking to a value (N,) for each query, NaN where it has none.
        cutoff: the k; None for a metric of the whole list.
        looks_to: how far down a ranking must reach: `"k"` places, `"relevant"` for as many as a query has relevant
            documents, `"end"` for all.
    """

    name: str
    function: Callable[[Ranking], Tensor]
    cutoff: int | None
    looks_to: Literal["k", "relevant", "end"]

    def __call__(self, ranking: Ranking) -> Tensor:
        """The value (N,) float64 of each query; NaN for a query without relevant documents."""
        return self.function(ranking)

    def depth(self, most_relevant: int, n_documents: int) -> int:
        """How many documents a search must find for the metric to be exact.

        Args:
            most_relevant: the largest number of relevant documents that a query has.
            n_documents: M.
        """
        wanted = {"k": self.cutoff or n_documents, "relevant": most_relevant, "end": n_documents}[self.looks_to]
        return max(1, min(wanted, n_documents))


@dataclass(frozen=True)
class Figure:
    """What is reported: a mean, of how many, and of how many not.

    Args:
        value: the mean over the queries that count; NaN where none does.
        n: how many queries count.
        undefined: how many have no value of their own, for want of a relevant document.
    """

    value: float
    n: int
    undefined: int

    @classmethod
    def of(cls, values: Tensor, undefined: Literal["skip", "zero"] = "skip") -> Figure:
        """Average values (N,).

        Args:
            values: NaN for undefined.
            undefined: leave such queries out of the mean, or count them as 0 as trec_eval does. Either way they are
                reported.
        """
        if undefined not in ("skip", "zero"):
            raise ValueError(f"undefined must be 'skip' or 'zero', got {undefined!r}")
        missing = values.isnan()
        counted = values[~missing] if undefined == "skip" else values.nan_to_num(nan=0.0)
        mean = counted.double().mean().item() if len(counted) else torch.nan
        return cls(mean, len(counted), int(missing.sum()))


@dataclass(frozen=True)
class _Family:
    """Metrics of one name: their function, and whether a cut-off must or may be given."""

    function: Callable[..., Tensor]
    cutoff: Literal["required", "optional", "none"]
    looks_to: Literal["relevant", "end"] = "end"


_FAMILIES: dict[str, _Family] = {
    "precision": _Family(metrics.precision, "required"),
    "recall": _Family(metrics.recall, "required"),
    "hit_rate": _Family(metrics.hit_rate, "required"),
    "mrr": _Family(metrics.reciprocal_rank, "optional"),
    "map": _Family(metrics.average_precision, "optional"),
    "map@r": _Family(metrics.map_at_r, "none", "relevant"),
    "r_precision": _Family(metrics.r_precision, "none", "relevant"),
    "ndcg": _Family(metrics.ndcg, "optional"),
    "ndcg_exp": _Family(partial(metrics.ndcg, gain="exponential"), "optional"),
}

_ALIASES = {"cmc": "hit_rate", "success": "hit_rate", "accuracy": "hit_rate", "r-precision": "r_precision"}


def metric_names() -> dict[str, str]:
    """The names that are known, and whether they take a cut-off: `"required"`, `"optional"` or `"none"`."""
    return {name: family.cutoff for name, family in _FAMILIES.items()}


def retrieval_metric(name: str) -> RetrievalMetric:
    """The metric of a name.

    Args:
        name: `precision@k`, `recall@k`, `hit_rate@k` (also `cmc@k`, `success@k`, `accuracy@k`), `mrr`, `mrr@k`, `map`,
            `map@k`, `map@r`, `r_precision`, `ndcg`, `ndcg@k`, or `ndcg_exp`, `ndcg_exp@k` with exponential gain.

    Raises:
        ValueError: for a name that is none of these.

    >>> retrieval_metric("recall@10").depth(most_relevant=3, n_documents=1000)
    10
    """
    wanted = name.strip().lower()
    if wanted in _FAMILIES and _FAMILIES[wanted].cutoff == "none":
        return _build(wanted, _FAMILIES[wanted], None)
    base, at, cutoff = wanted.partition("@")
    base = _ALIASES.get(base, base)
    family = _FAMILIES.get(base)
    if family is None:
        raise ValueError(
            f"unknown metric {name!r}; known are {', '.join(_FAMILIES)}, most with a cut-off as in ndcg@10"
        )
    if not at and family.cutoff == "required":
        raise ValueError(f"{name!r} needs a cut-off: {base}@10, for instance")
    if not at:
        return _build(base, family, None)
    if family.cutoff == "none":
        raise ValueError(f"{base} takes no cut-off, got {name!r}")
    if not re.fullmatch(r"[1-9][0-9]*", cutoff):
        raise ValueError(f"the cut-off of {name!r} must be a whole number from 1 on")
    return _build(f"{base}@{cutoff}", family, int(cutoff))


def retrieval_metrics(names: Iterable[str]) -> list[RetrievalMetric]:
    """The metrics of several names, each once.

    Raises:
        ValueError: for an unknown name, or two names of one metric.
    """
    metrics = [retrieval_metric(name) for name in names]
    twice = {metric.name for metric in metrics if sum(metric.name == other.name for other in metrics) > 1}
    if twice:
        raise ValueError(f"metrics are asked for more than once: {', '.join(sorted(twice))}")
    return metrics


def _build(name: str, family: _Family, cutoff: int | None) -> RetrievalMetric:
    options: dict[str, Any] = {} if cutoff is None else {"k": cutoff}
    return RetrievalMetric(
        name, partial(family.function, **options), cutoff, "k" if cutoff is not None else family.looks_to
    )
