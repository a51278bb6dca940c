"""Evaluators run in every epoch: on whole data sets, encoding nothing that is frozen and cached twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from simlearn.embeddings import Embeddings
from simlearn.encoding import evaluating
from simlearn.evaluation import BaseEvaluator
from simlearn.training.session import Session


class EpochEvaluation:
    """What `configure_evaluators` names, run with the weights of the moment.

    1. Before the first step, frozen encoders that are cached encode the evaluators' objects, each distinct one once.
    2. In an epoch only the head and what is trained run. Processes share the objects and gather the embeddings.
    3. Every process then ranks and measures the same, and logs the same figures.

    Args:
        evaluators: by name; a figure is logged as `<name>_<metric>`.
        session: the data of the fit, whose cache is filled.

    Raises:
        TypeError: for anything else than evaluators by name.
    """

    def __init__(self, evaluators: Mapping[str, BaseEvaluator], session: Session) -> None:
        if not isinstance(evaluators, Mapping):
            raise TypeError(
                f"configure_evaluators must return a dictionary of evaluators by name, got {type(evaluators).__name__}"
            )
        for name, evaluator in evaluators.items():
            if not isinstance(evaluator, BaseEvaluator):
                raise TypeError(
                    f"evaluator {name!r} must be a BaseEvaluator with data of its own, such as RetrievalEvaluator or "
                    f"GroupEvaluator, got a {type(evaluator).__name__}"
                )
        self.evaluators = dict(evaluators)
        self.session = session

    def prepare(self) -> None:
        """Encode what is missing from the cache; the same in all processes."""
        for evaluator in self.evaluators.values():
            for role, objects in evaluator.objects():
                self.session.keep(objects, role)

    def run(self) -> dict[str, float]:
        """The figures of all evaluators, the same in all processes."""
        model = self.session.model
        figures = {}
        with evaluating(model), torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            for name, evaluator in self.evaluators.items():
                scorer = evaluator.scorer if evaluator.scorer is not None else model.scorer

                def encode(objects: list[Any], role: str, batch_size: int = evaluator.batch_size) -> Embeddings:
                    return self.session.encode(objects, role, batch_size=batch_size, shared=True)

                report = evaluator.measure(encode, scorer)
                figures.update({f"{name}_{metric}": value for metric, value in report.items()})
        return figures
