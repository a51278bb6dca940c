"""How well embeddings find what is similar, over all batches seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simlearn.distances import Distance
from simlearn.evaluation.groups.agreement import knn_accuracy
from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric
from simlearn.evaluation.quaterion.modules.examples import Examples
from simlearn.evaluation.rankings.registry import retrieval_metric

Reduce = Callable[[Tensor], Tensor]


class RankingMetric(BaseMetric):
    """A metric of rankings by its name: every object queries all others.

    Objects to which nothing is similar have no value: they are left out of the mean and counted in `undefined`.

    Args:
        name: as `simlearn.evaluation.retrieval_metric` takes it, such as `"ndcg@10"`.
        distance_metric_name: how embeddings compare.
        reduce_func: from the values (N,) of the objects that have one to what `compute` returns; None returns the
            values of all, NaN for those without.
        **options: `scorer`, in place of the distance, and torchmetrics' own.

    Raises:
        ValueError: for an unknown metric.
    """

    def __init__(
        self,
        name: str,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__(distance_metric_name, **options)
        self.metric = retrieval_metric(name)
        self.reduce_func = reduce_func
        self.undefined = 0
        """How many objects had no value when it was last computed."""

    def measure(self, examples: Examples) -> Tensor:
        """The reduced values of all objects; NaN where none has a value."""
        return self._reduce(self.values(examples))

    def values(self, examples: Examples) -> Tensor:
        """The values (Q,) of the objects that are ranked for; NaN for those without."""
        depth = self.metric.depth(examples.most_relevant, max(1, len(examples.objects) - 1))
        return self.metric(examples.rank(depth))

    def _reduce(self, values: Tensor) -> Tensor:
        missing = values.isnan()
        self.undefined = int(missing.sum())
        if self.reduce_func is None:
            return values
        return values.new_tensor(torch.nan) if bool(missing.all()) else self.reduce_func(values[~missing])


class RetrievalPrecision(RankingMetric):
    """The share of an object's k nearest that are similar to it; arguments as for `RankingMetric`.

    Args:
        k: how many; the divisor, however many others there are.
    """

    def __init__(
        self,
        k: int = 1,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__(f"precision@{k}", distance_metric_name, reduce_func, **options)


class RetrievalRecall(RankingMetric):
    """The share of what is similar to an object that is among its k nearest; arguments as for `RankingMetric`."""

    def __init__(
        self,
        k: int = 10,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__(f"recall@{k}", distance_metric_name, reduce_func, **options)


class RetrievalReciprocalRank(RankingMetric):
    """1 / the place of the first similar object (MRR); arguments as for `RankingMetric`.

    Args:
        k: the cut-off, beyond which an object counts 0; None ranks all.
    """

    def __init__(
        self,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        k: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__("mrr" if k is None else f"mrr@{k}", distance_metric_name, reduce_func, **options)


class RetrievalRPrecision(RankingMetric):
    """The share of an object's R nearest that are similar, where R objects are; arguments as for `RankingMetric`."""

    def __init__(
        self,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__("r_precision", distance_metric_name, reduce_func, **options)


class RetrievalMAPAtR(RankingMetric):
    """Average precision over an object's R nearest, where R are similar; arguments as for `RankingMetric`."""

    def __init__(
        self,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__("map@r", distance_metric_name, reduce_func, **options)


class RetrievalMAP(RankingMetric):
    """Mean average precision, over the k nearest or, by default, all; arguments as for `RankingMetric`."""

    def __init__(
        self,
        k: int | None = None,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        **options: Any,
    ) -> None:
        super().__init__("map" if k is None else f"map@{k}", distance_metric_name, reduce_func, **options)


class RetrievalNDCG(RankingMetric):
    """Normalised discounted cumulative gain of the k nearest, labels being grades; arguments as for `RankingMetric`."""

    def __init__(
        self,
        k: int = 10,
        distance_metric_name: Distance | str = Distance.COSINE,
        reduce_func: Reduce | None = torch.mean,
        exponential: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(f"{'ndcg_exp' if exponential else 'ndcg'}@{k}", distance_metric_name, reduce_func, **options)


class KNNAccuracy(BaseMetric):
    """How many objects have the group that most of their k nearest have; of equal votes the nearest one's counts.

    Args:
        k: how many neighbours vote.
        distance_metric_name: how embeddings compare.
        **options: `scorer`, in place of the distance, and torchmetrics' own.
    """

    def __init__(self, k: int = 1, distance_metric_name: Distance | str = Distance.COSINE, **options: Any) -> None:
        super().__init__(distance_metric_name, **options)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k

    def measure(self, examples: Examples) -> Tensor:
        """The share of objects, a scalar."""
        return self.values(examples).nanmean()

    def values(self, examples: Examples) -> Tensor:
        """(Q,) 1 or 0 for the objects that are ranked for; NaN for one without a neighbour."""
        if examples.groups is None or examples.query_groups is None:
            raise ValueError("KNNAccuracy takes groups, not pairs")
        return knn_accuracy(examples.search(self.k).indices, examples.query_groups, examples.groups)
