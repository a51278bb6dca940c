"""The values of rankings, added part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from simlearn.evaluation.rankings.ranking import Qrels, Ranking
from simlearn.evaluation.rankings.registry import RetrievalMetric
from simlearn.evaluation.statistics.statistic import MeanStatistic, Numbers, Statistic

_SHOWN = 3


class RankedValues:
    """The values of metrics for each query, and what its ranking starts with.

    Args:
        metrics: what is measured.
        relevance_level: see `Ranking`.
    """

    def __init__(self, metrics: Sequence[RetrievalMetric], relevance_level: float | None = None) -> None:
        self.metrics = list(metrics)
        self.relevance_level = relevance_level
        self._values: list[Tensor] = []
        self._found: list[Tensor] = []
        self._first: list[Tensor] = []

    def add(self, indices: Tensor, qrels: Qrels) -> None:
        """Judge the rankings (n, k) of the next n queries; rows of documents, -1 for none."""
        self.add_ranking(Ranking.of(indices, qrels, self.relevance_level), indices)

    def add_ranking(self, ranking: Ranking, indices: Tensor) -> None:
        """Add the next n queries, judged already."""
        values = [metric(ranking) for metric in self.metrics]
        self._values.append(torch.stack(values).cpu() if values else torch.empty(0, len(indices)))
        self._found.append(indices[:, :_SHOWN].cpu())
        relevant = ranking.relevant
        hit = relevant.any(1) if relevant.shape[1] else torch.zeros(len(relevant), dtype=torch.bool)
        first = relevant.int().argmax(1) + 1 if relevant.shape[1] else torch.zeros(len(relevant), dtype=torch.long)
        self._first.append(torch.where(hit, first, 0).cpu())

    def spread(self, rows: Tensor, size: int) -> dict[str, Numbers]:
        """By metric the values (size,) with those that were added at `rows`, NaN elsewhere."""
        joined = torch.cat(self._values, dim=1)
        spread = {}
        for metric, values in zip(self.metrics, joined, strict=True):
            column = np.full(size, np.nan)
            column[rows.numpy()] = values.numpy()
            spread[metric.name] = column
        return spread

    def first_found(self) -> list[list[int]]:
        """For each query the rows of the first few documents."""
        rows = [row for part in self._found for row in part.tolist()]
        return [[one for one in row if one >= 0] for row in rows]

    def first_relevant(self) -> list[int | None]:
        """For each query the place of the first relevant document, from 1; None where none was found."""
        return [place or None for part in self._first for place in part.tolist()]

    @staticmethod
    def statistics(values: Mapping[str, Numbers], zero: bool = False) -> dict[str, Statistic]:
        """The means of values."""
        return {name: MeanStatistic(column, zero=zero) for name, column in values.items()}
