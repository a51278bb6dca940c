"""Quaterion's evaluator: metrics of a data set whose objects are ranked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from simlearn.evaluation.quaterion.samplers import BaseSampler
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.evaluation.statistics.statistic import FixedStatistic, MeanStatistic, Numbers, ReducedStatistic, Statistic

if TYPE_CHECKING:
    from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric


class Evaluator:
    """Encodes a data set once and measures it by one or several metrics, all on the same choice of objects.

    Args:
        metrics: a metric, which is named by its class, or metrics by name.
        sampler: `PairSampler` or `GroupSampler`, for the kind of samples.
        confidence: of the intervals.
        n_resamples: bootstrap resamples.
        seed: of the resamples.

    Raises:
        TypeError: for what is no metric.
    """

    def __init__(
        self,
        metrics: BaseMetric | Mapping[str, BaseMetric],
        sampler: BaseSampler,
        *,
        confidence: float = 0.95,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric  # loads torchmetrics

        named = dict(metrics) if isinstance(metrics, Mapping) else {type(metrics).__name__: metrics}
        for name, metric in named.items():
            if not isinstance(metric, BaseMetric):
                raise TypeError(
                    f"metric {name!r} must be a BaseMetric, such as RetrievalPrecision(); got {metric!r:.80}"
                )
        if not isinstance(sampler, BaseSampler):
            raise TypeError(f"sampler must be a PairSampler or GroupSampler, got a {type(sampler).__name__}")
        self.metrics: dict[str, BaseMetric] = named
        self.sampler = sampler
        self.resampling: dict[str, Any] = {"confidence": confidence, "n_resamples": n_resamples, "seed": seed}

    def evaluate(self, dataset: Any = None, model: Any = None) -> EvaluationReport:
        """Encode the data set with the model, and measure it.

        Args:
            dataset: samples, or their loader.
            model: a `SimilarityModel`, a `TrainableModel`, or a function `encode(objects, role)`.

        Raises:
            TypeError: without a data set or a model, or for samples of another kind than the sampler's.
        """
        if dataset is None:
            raise TypeError("Evaluator takes a data set: evaluate(evaluator, dataset, model)")
        encoded = self.sampler.encode(dataset, model)
        statistics: dict[str, Statistic] = {}
        columns: dict[str, Numbers] = {}
        rows: list[int] = []
        for name, metric in self.metrics.items():
            examples = encoded.examples(metric.scorer)
            everything = torch.arange(len(examples.objects))
            rows = (everything if examples.queries is None else examples.queries).tolist()
            values = metric.values(examples)
            if values is None:
                higher = True if metric.higher_is_better is None else metric.higher_is_better
                statistics[name] = FixedStatistic(float(metric.measure(examples)), len(rows))
                statistics[name].higher_is_better = higher
                continue
            columns[name] = values.double().cpu().numpy()
            reduce = getattr(metric, "reduce_func", None) or torch.mean
            plain = reduce is torch.mean
            statistics[name] = MeanStatistic(columns[name]) if plain else ReducedStatistic(columns[name], reduce)
        return EvaluationReport(
            f"{type(self.sampler).__name__}: {len(rows):,} objects, each ranked for among the others",
            statistics,
            rows="objects",
            ids=rows,
            values=columns,
            **self.resampling,
        )
