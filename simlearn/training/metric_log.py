"""Attached metrics at work: fed by the steps, logged by the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import pytorch_lightning as pl
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.evaluation import AttachedMetric
from simlearn.relations import Relation, RelationKind
from simlearn.training.epoch_sums import EpochSums
from simlearn.training.stage import TrainStage

_KINDS = (RelationKind.PAIRS, RelationKind.GROUPS)

Measured: TypeAlias = "list[tuple[AttachedMetric, Tensor]]"
"""Metrics, and what each says of a batch, a scalar."""


class MetricLog:
    """Feeds attached metrics with batches and logs them.

    Args:
        metrics: what `configure_metrics` returned.

    Raises:
        TypeError: for anything else than attached metrics.
        ValueError: for two of one name.
    """

    def __init__(self, metrics: AttachedMetric | Iterable[AttachedMetric] | None) -> None:
        given = [metrics] if isinstance(metrics, AttachedMetric) else list(metrics or [])
        for metric in given:
            if not isinstance(metric, AttachedMetric):
                raise TypeError(
                    "configure_metrics must return AttachedMetrics, such as AttachedMetric('rp@1', "
                    f"RetrievalPrecision(k=1)); got a {type(metric).__name__}"
                )
        names = [metric.name for metric in given]
        if len(set(names)) < len(names):
            raise ValueError(f"attached metrics must have names of their own, got {', '.join(names)}")
        self.metrics = given

    def start(self, kinds: Iterable[RelationKind], two_towers: bool, device: torch.device) -> None:
        """Begin a fit.

        Raises:
            TypeError: for samples that the metrics cannot read.
        """
        for kind in kinds:
            if self.metrics and kind not in _KINDS:
                raise TypeError(
                    f"attached metrics read pairs and groups, not {kind}; evaluate those with configure_evaluators"
                )
        for one in self.metrics:
            one.metric.distinguish = two_towers
            one.metric.to(device)
            one.metric.reset()

    def of(self, stage: TrainStage) -> list[AttachedMetric]:
        """The metrics of a stage."""
        return [one for one in self.metrics if str(stage) in one.stages]

    def measure(self, stage: TrainStage, queries: Embeddings, documents: Embeddings, relation: Relation) -> Measured:
        """Take a batch in: in training the one of all processes, in validation this process's share.

        Returns:
            In training what each metric says of the batch alone, where it says anything.
        """
        metrics = self.of(stage)
        measured: Measured = []
        if not metrics:
            return measured
        embeddings, targets = _arguments(queries, documents, relation)
        for one in metrics:
            if stage is TrainStage.VALIDATION:
                one.metric.update(embeddings, **targets)
                continue
            with torch.no_grad():
                value = one.metric.measure_batch(embeddings, **targets)
            if not bool(value.isnan()):  # no object of the batch has anything similar
                measured.append((one, value))
        return measured

    def log(
        self, module: pl.LightningModule, sums: EpochSums, stage: TrainStage, measured: Measured, size: int
    ) -> None:
        """Log what `measure` found in a batch of so many samples, or keep it for the epoch."""
        for one, value in measured:
            name = f"{one.name}_{stage}"
            if one.on_epoch:
                sums.add(f"{stage}:{name}", value, size)
            if one.on_step:
                step_name = f"{name}_step" if one.on_epoch else name
                module.log(step_name, value.float(), on_step=True, on_epoch=False, batch_size=size, **one.log_options)

    def finish(self, module: pl.LightningModule, sums: EpochSums, stage: TrainStage) -> None:
        """Log the epoch; the same figures in all processes."""
        if stage is TrainStage.VALIDATION:
            for one in self.of(stage):
                module.log(f"{one.name}_{stage}", one.metric.compute().float(), **one.log_options)
                one.metric.reset()
            return
        for key, (total, weight) in sums.take(f"{stage}:", over_processes=False).items():
            name = key.partition(":")[2]
            one = next(metric for metric in self.metrics if f"{metric.name}_{stage}" == name)
            module.log(name, total / weight, **one.log_options)


def _arguments(queries: Embeddings, documents: Embeddings, relation: Relation) -> tuple[Tensor, dict[str, Any]]:
    """A batch as `BaseMetric.update` takes it."""
    if queries.is_multi_vector or documents.is_multi_vector:
        raise TypeError("attached metrics compare one vector an object; use configure_evaluators for many")
    if relation.groups is not None:
        return queries.values, {"groups": relation.groups[: len(queries)], "ids": relation.query_ids}
    size = relation.n_queries
    rows = torch.arange(size, device=queries.device)
    ids = None
    if relation.query_ids is not None and relation.document_ids is not None:
        ids = torch.cat([relation.query_ids, relation.document_ids])
    pairs = torch.stack([rows, rows + size], dim=1)
    both = torch.cat([queries.values, documents.values])
    return both, {"labels": relation.paired_scores(), "pairs": pairs, "ids": ids}
