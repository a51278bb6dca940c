"""Pairs: do the scores of similar pairs lie above those of different ones?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from simlearn.evaluation.base_evaluator import BaseEvaluator
from simlearn.evaluation.encode import Encode, ObjectSet, samples_of
from simlearn.evaluation.pairs import metrics
from simlearn.evaluation.pairs.statistics import PAIR_METRICS, PairStatistic
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.samples import SimilarityPairSample
from simlearn.scoring import Scorer

_AT_ONCE = 16_384


class PairEvaluator(BaseEvaluator):
    """How well the scores of pairs tell similar from different ones, or follow graded labels.

    Args:
        samples: `SimilarityPairSample` objects, or their loader. `obj_a` is encoded as a query, `obj_b` as a document.
        metrics: of `roc_auc`, `average_precision`, `best_f1`, `equal_error_rate`, where a score above `threshold` is
            similar, and `spearman`. None: the first four where there are similar and different pairs, and `spearman`
            where the scores have more than two values.
        threshold: see `metrics`.
        **options: see `BaseEvaluator`.

    Raises:
        ValueError: for no samples, unknown metrics, or scores that are not finite.
    """

    def __init__(
        self, samples: Any, metrics: Iterable[str] | None = None, *, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.samples: list[SimilarityPairSample] = samples_of(samples, SimilarityPairSample)
        self.threshold = threshold
        self.labels = np.array([float(sample.score) for sample in self.samples])
        if not np.isfinite(self.labels).all():
            row = int(np.flatnonzero(~np.isfinite(self.labels))[0])
            raise ValueError(f"the score of pair {row} is {self.labels[row]}; mend it or drop the pair")
        self.metrics = self._fitting() if metrics is None else list(metrics)
        if unknown := [name for name in self.metrics if name not in PAIR_METRICS]:
            raise ValueError(f"unknown metric of pairs {unknown[0]!r}; known are {', '.join(PAIR_METRICS)}")
        ids = range(len(self.samples))
        self.first = ObjectSet(ids, [sample.obj_a for sample in self.samples], "first")
        self.second = ObjectSet(ids, [sample.obj_b for sample in self.samples], "second")

    def _fitting(self) -> list[str]:
        both = bool((self.labels > self.threshold).any() and (self.labels <= self.threshold).any())
        graded = len(np.unique(self.labels)) > 2
        names = [name for name in PAIR_METRICS if (both if name != "spearman" else graded)]
        if not names:
            raise ValueError(
                "all pairs have one score, so no metric of pairs is defined: give similar and different ones, or rank "
                "the pairs' objects among each other, Evaluator(RetrievalReciprocalRank(), PairSampler())"
            )
        return names

    def objects(self) -> list[tuple[str, list[Any]]]:
        """All first and all second objects."""
        return [("query", self.first.distinct), ("document", self.second.distinct)]

    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """Score every pair."""
        first, second = self.first.embed(encode, "query"), self.second.embed(encode, "document")
        parts = []
        with torch.no_grad():
            for start in range(0, len(first), _AT_ONCE):
                rows = slice(start, start + _AT_ONCE)
                parts.append(scorer.paired(first.take(rows), second.take(rows)).float().cpu())
        scores = torch.cat(parts).double()
        similar = torch.from_numpy(self.labels) > self.threshold
        notes = self._notes()
        best = metrics.best_f1(scores, similar)
        if "best_f1" in self.metrics and not np.isnan(best.threshold):
            notes.append(
                f"best_f1 calls pairs from a score of {best.threshold:.3f} on similar: precision {best.precision:.3f}, "
                f"recall {best.recall:.3f}, accuracy {best.accuracy:.3f}."
            )
        # How far on the wrong side: a similar pair that few score below, a different one that few score above.
        share = (metrics.mean_ranks(scores) / len(scores)).numpy()
        return EvaluationReport(
            f"Pairs: {len(self.samples):,}, {int(similar.sum()):,} of them similar",
            {name: PairStatistic(name, scores.numpy(), self.labels, self.threshold) for name in self.metrics},
            rows="pairs",
            ids=range(len(self.samples)),
            table={
                "first": [sample.obj_a for sample in self.samples],
                "second": [sample.obj_b for sample in self.samples],
                "label": self.labels.tolist(),
                "score": scores.tolist(),
            },
            notes=notes,
            errors=np.where(similar.numpy(), 1 - share, share),
            **self.resampling,
        )

    def _notes(self) -> list[str]:
        cells = np.stack([self.first.content.numpy(), self.second.content.numpy()], axis=1)
        distinct, which = np.unique(cells, axis=0, return_inverse=True)
        which = which.reshape(-1)
        similar = np.bincount(which, self.labels > self.threshold, len(distinct))
        conflicting = int(((similar > 0) & (similar < np.bincount(which, minlength=len(distinct)))).sum())
        notes = []
        if len(distinct) < len(cells):
            notes.append(f"{len(cells) - len(distinct):,} pairs repeat another one.")
        if conflicting:
            notes.append(f"{conflicting:,} pairs of objects are called similar once and different once.")
        return notes
