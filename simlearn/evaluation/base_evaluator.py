"""What all evaluators share, and `evaluate`, which runs one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from simlearn.evaluation.encode import Encode, encoder_of
from simlearn.evaluation.reports.report import EvaluationReport
from simlearn.scoring import Scorer


class BaseEvaluator(ABC):
    """An evaluation on data of its own. A subclass implements `objects` and `measure`.

    Args:
        batch_size: how many objects a model encodes at once.
        scorer: how embeddings compare; None for the model's scorer.
        confidence: of the intervals.
        n_resamples: bootstrap resamples; thousands cost little.
        seed: of the resamples.
        show_progress: whether encoding shows a progress bar.

    Raises:
        ValueError: for a number that makes no sense.
    """

    def __init__(
        self,
        *,
        batch_size: int = 32,
        scorer: Scorer | None = None,
        confidence: float = 0.95,
        n_resamples: int = 1000,
        seed: int = 0,
        show_progress: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, such as 0.95, got {confidence}")
        if n_resamples < 1:
            raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
        self.batch_size = batch_size
        self.scorer = scorer
        self.resampling: dict[str, Any] = {"confidence": confidence, "n_resamples": n_resamples, "seed": seed}
        self.show_progress = show_progress

    @abstractmethod
    def objects(self) -> list[tuple[str, list[Any]]]:
        """What `measure` will encode: lists of objects and their roles, the same lists every time."""

    @abstractmethod
    def measure(self, encode: Encode, scorer: Scorer) -> EvaluationReport:
        """The report on what `encode` gives."""

    def evaluate(self, dataset: Any = None, model: Any = None, scorer: Scorer | None = None) -> EvaluationReport:
        """Encode the data with a model, and measure.

        Args:
            dataset: must be None: the evaluator has its own.
            model: a `SimilarityModel`, a `TrainableModel`, or a function `encode(objects, role)`.
            scorer: how embeddings compare; None for the evaluator's or the model's.

        Raises:
            TypeError: for a data set, or without a model.
        """
        if dataset is not None:
            cure = "; pass the model by keyword: evaluate(evaluator, model=...)" if model is None else ""
            raise TypeError(f"{type(self).__name__} holds its own data and takes no dataset{cure}")
        scorer = scorer if scorer is not None else self.scorer
        return self.measure(*encoder_of(model, scorer, self.batch_size, self.show_progress))


def evaluate(evaluator: Any, dataset: Any = None, model: Any = None, **judged: Any) -> EvaluationReport:
    """Evaluate a model, or whatever else searches or scores.

    Args:
        evaluator: `RetrievalEvaluator`, `RerankingEvaluator`, `PairEvaluator` or `GroupEvaluator`, which hold their
            data, or `Evaluator`, which takes a data set.
        dataset: samples, or their loader, for `Evaluator` alone.
        model: a `SimilarityModel`, a `TrainableModel`, or a function `encode(objects, role)` that returns embeddings.
        **judged: instead of a model `search=`, for `RetrievalEvaluator`, or `score=`, for `RerankingEvaluator`.

    Returns:
        The figures by name, each with its interval in `report.figures`; `print(report)` shows them.

    Raises:
        TypeError: for what is no evaluator or no model.
        ValueError: for embeddings that are NaN or infinite.
    """
    if not callable(getattr(evaluator, "evaluate", None)):
        raise TypeError(
            f"evaluate takes an evaluator first, got a {type(evaluator).__name__}; for instance "
            "simlearn.evaluate(RetrievalEvaluator(queries, corpus, qrels), model=model)"
        )
    report: EvaluationReport = evaluator.evaluate(dataset, model, **judged)
    return report
