"""How well the scores of pairs tell similar from different, over all batches seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simlearn.distances import Distance
from simlearn.evaluation.pairs import metrics
from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric
from simlearn.evaluation.quaterion.modules.examples import Examples

_BINARY: dict[str, Callable[[Tensor, Tensor], float]] = {
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
    "best_f1": lambda scores, similar: metrics.best_f1(scores, similar).f1,
    "equal_error_rate": metrics.equal_error_rate,
}


class PairScoreMetric(BaseMetric):
    """A metric of the scores of pairs against their labels; takes labels and pairs.

    Args:
        name: `"roc_auc"`, `"average_precision"`, `"best_f1"`, `"equal_error_rate"`, where a label above 0 is similar,
            or `"spearman"`, the correlation with graded labels.
        distance_metric_name: how embeddings compare.
        **options: `scorer`, in place of the distance, and torchmetrics' own.

    Raises:
        ValueError: for an unknown name.
    """

    higher_is_better = None  # it depends on the name: lower for the equal error rate

    def __init__(self, name: str, distance_metric_name: Distance | str = Distance.COSINE, **options: Any) -> None:
        super().__init__(distance_metric_name, **options)
        if name not in _BINARY and name != "spearman":
            raise ValueError(f"unknown metric of pairs {name!r}; known are {', '.join(_BINARY)}, spearman")
        self.name = name

    def measure(self, examples: Examples) -> Tensor:
        """A scalar; NaN where the metric is not defined for the labels seen."""
        scores, labels = examples.pair_scores, examples.pair_labels
        if scores is None or labels is None:
            raise ValueError("PairScoreMetric takes labels and pairs, not groups")
        value = metrics.spearman(scores, labels) if self.name == "spearman" else _BINARY[self.name](scores, labels > 0)
        return torch.tensor(value, dtype=torch.float64, device="cpu" if scores.device.type == "mps" else scores.device)
