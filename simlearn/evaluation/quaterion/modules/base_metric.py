"""What all metrics keep of the batches they see. The one module that imports torchmetrics."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.evaluation.quaterion.modules.examples import Examples
from simlearn.evaluation.quaterion.modules.shared_state import gather_state
from simlearn.precision import at_least_single
from simlearn.scoring import DistanceScorer, Scorer

_STATES = ("vectors", "partners", "groups", "scores", "ids")


class BaseMetric(torchmetrics.Metric):
    """A metric over everything seen since `reset`, in all processes; called, it also gives the value of one batch.

    A subclass implements `measure`. What is kept are embeddings and targets, one row an object or a pair: a whole
    validation set is ranked against itself, not batch by batch.

    Args:
        distance_metric_name: how embeddings compare.
        scorer: how they compare, in place of a distance.

    Raises:
        ValueError: for an unknown distance.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better: bool | None = True

    def __init__(
        self, distance_metric_name: Distance | str = Distance.COSINE, scorer: Scorer | None = None, **options: Any
    ) -> None:
        super().__init__(dist_sync_fn=gather_state, **options)
        self.scorer = DistanceScorer(distance_metric_name) if scorer is None else scorer
        for name in _STATES:
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self.vectors: list[Tensor] | Tensor
        self.partners: list[Tensor] | Tensor
        self.groups: list[Tensor] | Tensor
        self.scores: list[Tensor] | Tensor
        self.ids: list[Tensor] | Tensor
        self.distinguish = False
        """Whether first objects of pairs only look for second ones, as where each side has a tower of its own."""

    def update(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        pairs: Tensor | None = None,
        subgroups: Tensor | None = None,
        *,
        groups: Tensor | None = None,
        ids: Tensor | None = None,
    ) -> None:
        """Add a batch: `groups`, or `labels` and `pairs`.

        Args:
            embeddings: (R, D), one row an object.
            labels: (B,) scores of the pairs; above 0 is similar.
            pairs: (B, 2) rows of the two objects of each pair.
            subgroups: (R,) subgroups, which change no ranking; taken so that a loss's targets can be given as they are.
            groups: (R,) int64 groups of the objects, instead of pairs.
            ids: (R,) int64; equal ids are one object. Without ids an object that comes twice counts as two, and one of
                them as a wrong answer to the other's query.

        Raises:
            ValueError: when neither or both kinds of targets are given, or a shape does not fit.
        """
        if embeddings.ndim != 2:
            raise ValueError(f"embeddings must be (R, D), got {tuple(embeddings.shape)}")
        for name, column in (("groups", groups), ("ids", ids)):
            if column is not None and column.shape != (len(embeddings),):
                raise ValueError(f"{name} must have the shape ({len(embeddings)},), got {tuple(column.shape)}")
        # The precision that they are compared in, and one that all processes share whatever their autocast.
        embeddings = embeddings.detach().to(at_least_single(embeddings))
        if groups is not None and pairs is None and labels is None:
            self._append(vectors=embeddings, groups=groups.long(), ids=None if ids is None else ids.long())
            return
        if groups is not None or pairs is None or labels is None:
            raise ValueError(f"{type(self).__name__} takes groups, or labels and pairs")
        if pairs.ndim != 2 or pairs.shape[1] != 2 or labels.shape != (len(pairs),):
            raise ValueError(f"pairs (B, 2) and labels (B,) needed, got {tuple(pairs.shape)} and {tuple(labels.shape)}")
        first, second = pairs.unbind(1)
        self._append(
            vectors=embeddings[first],
            partners=embeddings[second],
            scores=labels.float(),
            ids=None if ids is None else ids.long()[pairs],
        )

    def compute(self) -> Tensor:
        """The value over everything seen."""
        return self.measure(self._examples())

    def measure_batch(self, embeddings: Tensor, **targets: Any) -> Tensor:
        """The value of one batch by itself, in this process alone; what was seen before is kept as it is.

        Args:
            embeddings: as for `update`.
            **targets: likewise.
        """
        kept = {name: getattr(self, name) for name in _STATES}
        try:
            for name in _STATES:
                setattr(self, name, [])
            BaseMetric.update(self, embeddings, **targets)  # not torchmetrics' wrapper, which counts updates
            return self.measure(self._examples())
        finally:
            for name, state in kept.items():
                setattr(self, name, state)

    def values(self, examples: Examples) -> Tensor | None:
        """The values (Q,) of the objects that are ranked for, NaN for none; None where there are none."""
        return None

    def evaluate(self) -> Tensor:
        """The same as `compute`, under the name that Quaterion gave it."""
        value: Tensor = self.compute()
        return value

    def measure(self, examples: Examples) -> Tensor:
        """The value of objects and what is similar among them."""
        raise NotImplementedError(f"{type(self).__name__} must define measure")

    def _append(self, **columns: Tensor | None) -> None:
        for name, column in columns.items():
            if column is not None:
                getattr(self, name).append(column)

    def _examples(self) -> Examples:
        vectors = _joined(self.vectors)
        if vectors is None:
            raise ValueError(f"{type(self).__name__} has seen no batch, so it has no value")
        groups, partners, scores, ids = (_joined(part) for part in (self.groups, self.partners, self.scores, self.ids))
        if groups is not None and partners is not None:
            raise ValueError(f"{type(self).__name__} has seen groups and pairs; reset it between them")
        if ids is not None and len(ids) != len(vectors):
            raise ValueError(f"{type(self).__name__} was given ids for {len(ids)} of {len(vectors)} objects or pairs")
        if groups is not None:
            return Examples.from_groups(Embeddings(vectors), groups, ids, self.scorer)
        if partners is None or scores is None:
            raise ValueError(f"{type(self).__name__} has neither groups nor pairs")
        pair = Embeddings(vectors), Embeddings(partners)
        return Examples.from_pairs(*pair, scores, ids, self.scorer, self.distinguish)


def _joined(state: list[Tensor] | Tensor) -> Tensor | None:
    """The rows of a state, which is one tensor after the processes have exchanged theirs."""
    if isinstance(state, Tensor):
        return state if state.numel() else None
    return torch.cat(state) if state else None
