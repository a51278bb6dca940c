"""Evaluators run in every epoch: on whole data sets, encoding nothing that is frozen and cached twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch

from simlearn.distributed import is_distributed, rank, together, world_size
from simlearn.embeddings import Embeddings, gather_embeddings
from simlearn.encoding import encode_in_batches, evaluating
from simlearn.evaluation import BaseEvaluator
from simlearn.towers.inputs import CachedRows, Inputs
from simlearn.training.session import Session

_AT_ONCE = 4096
"""Objects that go through the head at once when all their embeddings are cached."""


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
        # The lists are kept beside their rows, or Python might give their address to others.
        self._rows: dict[tuple[str, int], tuple[list[Any], dict[str, CachedRows]]] = {}

    def prepare(self) -> None:
        """Encode what is missing from the cache; the same in all processes."""
        cache = self.session.cache
        if cache is None or not cache.tables:
            return
        for evaluator in self.evaluators.values():
            for role, objects in evaluator.objects():
                self._rows[role, id(objects)] = objects, cache.add(role, objects)

    def run(self) -> dict[str, float]:
        """The figures of all evaluators, the same in all processes."""
        model = self.session.model
        figures = {}
        with evaluating(model), torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            for name, evaluator in self.evaluators.items():
                scorer = evaluator.scorer if evaluator.scorer is not None else model.scorer

                def encode(objects: list[Any], role: str, batch_size: int = evaluator.batch_size) -> Embeddings:
                    return self._shared(objects, role, batch_size)

                report = evaluator.measure(encode, scorer)
                figures.update({f"{name}_{metric}": value for metric, value in report.items()})
        return figures

    def _shared(self, objects: list[Any], role: str, batch_size: int) -> Embeddings:
        """The embeddings of objects, each process encoding some of them."""
        if not is_distributed() or len(objects) < world_size():
            return self._embed(objects, role, slice(0, len(objects)), batch_size)
        bounds = [len(objects) * process // world_size() for process in range(world_size() + 1)]
        share = slice(bounds[rank()], bounds[rank() + 1])
        own = together(lambda: self._embed(objects, role, share, batch_size), "evaluation")
        sizes = [[after - before] for before, after in pairwise(bounds)]
        return gather_embeddings([own], sizes)[0]

    def _embed(self, objects: list[Any], role: str, share: slice, batch_size: int) -> Embeddings:
        """The embeddings of a share of the objects."""
        model, cache = self.session.model, self.session.cache
        tower = model.tower(role)
        if not objects[share]:
            return tower.embeddings_of_nothing()
        _, rows = self._rows.get((role, id(objects)), (objects, {}))
        if cache is not None and rows and set(rows) == {part.name for part in tower.parts}:
            parts = [tower.embed(inputs.to(model.device), cache) for inputs in _inputs(rows, share)]
            return Embeddings.concatenate(parts)
        collate, lookups = tower.collator(), self.session.lookups(role)
        return encode_in_batches(
            objects[share],
            lambda batch: tower.embed(collate(batch, lookups).to(model.device), cache),
            batch_size=batch_size,
        )


def _inputs(rows: Mapping[str, CachedRows], share: slice) -> Iterator[Inputs]:
    """Rows of the cache, some at a time."""
    for start in range(share.start, share.stop, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, share.stop))
        yield Inputs({name: CachedRows(one.rows[part]) for name, one in rows.items()}, {}, part.stop - part.start)
