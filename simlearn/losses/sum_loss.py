"""Several losses at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import Tensor, nn

from simlearn.components import from_description
from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation, RelationCheck
from simlearn.scoring import Scorer


class SumLoss(SimilarityLoss):
    """The weighted sum of losses over the same batch, all with the model's scorer.

    It takes the samples that all of its losses take, and its counts have the names of the losses before them.

    Args:
        losses: by name, or a list, whose names are those of their classes. A config of a loss will do too.
        weights: a number each, in the same order; None for 1.

    Raises:
        ValueError: without a loss, for weights that do not fit or are not above 0, for losses that have no kind of
            samples in common, or that name different distances.
    """

    def __init__(
        self,
        losses: Mapping[str, SimilarityLoss | Mapping[str, Any]] | Sequence[SimilarityLoss],
        weights: Sequence[float] | None = None,
    ) -> None:
        named = _named(losses)
        distances = {loss.distance for loss in named.values()} - {None}
        if len(distances) > 1:
            names = ", ".join(sorted(distance.value for distance in distances if distance is not None))
            raise ValueError(f"the losses of a sum compare by one distance, these name {names}")
        super().__init__(next(iter(distances), None))
        self.losses = nn.ModuleDict(named)
        self.weights = [1.0] * len(named) if weights is None else [float(weight) for weight in weights]
        if len(self.weights) != len(named) or not all(weight > 0 for weight in self.weights):
            raise ValueError(f"weights must be {len(named)} numbers above 0, one a loss, got {self.weights}")
        kinds = reduce(frozenset.intersection, (loss.relations for loss in named.values()))
        if not kinds:
            told = "; ".join(f"{name} takes {' or '.join(sorted(loss.relations))}" for name, loss in named.items())
            raise ValueError(f"the losses have no kind of samples in common: {told}")
        users = [loss for loss in named.values() if loss.needs_negatives]
        # Of this class they are variables; of an object they follow from its losses.
        self.relations = kinds  # type: ignore[misc]
        self.needs_positives = any(loss.needs_positives for loss in named.values())  # type: ignore[misc]
        self.needs_negatives = bool(users)  # type: ignore[misc]
        self.takes_memory = all(loss.takes_memory for loss in named.values())  # type: ignore[misc]
        self.takes_batch_as_negatives = all(loss.takes_batch_as_negatives for loss in users)  # type: ignore[misc]

    @property
    def tile_bytes(self) -> int:
        """The budget of a tile of scores, the largest of those of the losses; setting it sets that of all of them."""
        return max(loss.tile_bytes for _, loss in self._parts())

    @tile_bytes.setter
    def tile_bytes(self, budget: int) -> None:
        for _, loss in self._parts():
            loss.tile_bytes = budget

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The sum, and the counts of all losses."""
        total, counts = queries.values[:0].float().sum(), dict[str, Tensor]()
        for (name, loss), weight in zip(self._parts(), self.weights, strict=True):
            result = LossResult.of(loss.compute(queries, documents, relation, scorer))
            total = total + weight * result.value
            counts.update({f"{name}_{key}": value for key, value in result.counts.items()})
        return LossResult(total, 1, counts)

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """All checks of the losses."""
        checks = tuple(check for _, loss in self._parts() if (check := loss.relation_check(training)) is not None)
        return _All(checks) if checks else None

    def kept_arguments(self) -> dict[str, Any]:
        """The losses by name."""
        return {"losses": dict(self._parts())}

    def _parts(self) -> list[tuple[str, SimilarityLoss]]:
        return [(name, loss) for name, loss in self.losses.items() if isinstance(loss, SimilarityLoss)]


@dataclass(frozen=True)
class _All:
    checks: tuple[RelationCheck, ...]

    def __call__(self, relation: Relation) -> None:
        for check in self.checks:
            check(relation)


def _named(
    losses: Mapping[str, SimilarityLoss | Mapping[str, Any]] | Sequence[SimilarityLoss],
) -> dict[str, SimilarityLoss]:
    if not losses:
        raise ValueError("a sum needs at least one loss")
    if isinstance(losses, Mapping):
        return {name: from_description(loss, SimilarityLoss, "loss") for name, loss in losses.items()}
    named: dict[str, SimilarityLoss] = {}
    for given in losses:
        loss = from_description(given, SimilarityLoss, "loss")
        name, number = type(loss).__name__, 2
        while name in named:
            name, number = f"{type(loss).__name__}{number}", number + 1
        named[name] = loss
    return named
