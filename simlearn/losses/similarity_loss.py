"""What all losses share.

A library loss implements `compute(queries, documents, relation, scorer)` over a pure function of tensors. A user's loss
may instead implement `forward(embeddings, groups)` or `forward(embeddings, pairs, labels, subgroups)`: the base classes
turn one into the other, so that both train.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from simlearn.components import Component
from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import DistanceScorer, Scorer

ALL_RELATIONS = frozenset(RelationKind)


class LossResult(NamedTuple):
    """A loss as a sum over rows and what it is divided by, so that parts of a batch add up.

    Args:
        total: a scalar in the graph.
        weight: a number or scalar, such as the anchors that count; at least 1 is divided by.
        counts: scalars by name, logged as `<stage>_<name>`; for instance the anchors that had no positive.
    """

    total: Tensor
    weight: Tensor | float
    counts: dict[str, Tensor]

    @property
    def value(self) -> Tensor:
        """The loss: a scalar in the graph."""
        if isinstance(self.weight, Tensor):
            return self.total / self.weight.clamp(min=1).to(self.total.dtype)
        return self.total / max(self.weight, 1.0)


class SimilarityLoss(nn.Module, Component):
    """The base of all losses.

    Args:
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
    """

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    """The kinds of samples the loss learns from."""
    needs_positives: ClassVar[bool] = True
    """Whether data without any similar objects teaches it nothing."""
    needs_negatives: ClassVar[bool] = True
    """Whether data without any different objects teaches it nothing."""
    takes_batch_as_negatives: ClassVar[bool] = True
    """Whether objects that nobody judged count as different."""
    takes_memory: ClassVar[bool] = False
    """Whether `compute` takes more documents than its batch has: those of earlier batches, behind its own."""
    tile_bytes: int = 64 * 2**20
    """The budget of a tile of scores; set it on a loss whose batches need more or less."""

    def __init__(self, distance_metric_name: Distance | str | None = None) -> None:
        super().__init__()
        self.distance = None if distance_metric_name is None else Distance(distance_metric_name)

    def scorer(self) -> Scorer:
        """The scorer of the loss's own distance, cosine by default."""
        return DistanceScorer(self.distance if self.distance is not None else Distance.COSINE)

    def compute(
        self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> LossResult | Tensor:
        """The loss of N queries and M documents.

        Args:
            queries: N embeddings.
            documents: M embeddings; the same object as `queries` where the relation is shared.
            relation: what is similar to what.
            scorer: how embeddings compare.

        Returns:
            A scalar in the graph, or a `LossResult` with counts.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute or forward")

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """A picklable function that raises ValueError for labels the loss cannot use; None checks nothing.

        It runs in the collator, on the CPU: looking at values later would make the GPU wait.

        Args:
            training: whether the labels are learnt from, rather than evaluated.
        """
        return None

    def _evaluate(self, embeddings: Tensor, relation: Relation) -> Tensor:
        """The loss of rows that are queries and documents at once, by the loss's own distance."""
        check = self.relation_check()
        if check is not None:
            check(relation)
        both = Embeddings(embeddings)
        if relation.is_shared:
            queries, documents = both, both
        else:
            queries, documents = both.split([relation.n_queries, relation.n_documents])
        result = self.compute(queries, documents, relation, self.scorer())
        return result.value if isinstance(result, LossResult) else result


class GroupLoss(SimilarityLoss):
    """The base of losses over groups: implement `compute`, or `forward(embeddings, groups)`.

    A loss whose `compute` reads only the masks of its relation takes more than groups, and says so in `relations`.
    """

    relations: ClassVar[frozenset[RelationKind]] = frozenset({RelationKind.GROUPS})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "xbm_loss" in vars(cls):
            cls.takes_memory = True

    def compute(
        self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> LossResult | Tensor:
        """The loss of a relation; for a loss that only has `forward`, what that or `xbm_loss` returns."""
        _refuse_if_undefined(self, GroupLoss)
        if relation.groups is None:
            raise TypeError(f"{type(self).__name__} takes groups, got {relation.kind}")
        own, size = _one_vector_each(self, queries), len(queries)
        if relation.n_documents > size:
            earlier = _one_vector_each(self, documents.take(slice(size, None)))
            return self.xbm_loss(own, relation.groups[:size], earlier, relation.groups[size:])
        value: Tensor = self(own, relation.groups)
        return value

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        """The loss of (N, D) embeddings with (N,) groups, a scalar."""
        _refuse_if_undefined(self, GroupLoss)
        return self._evaluate(embeddings, Relation.from_groups(groups.long()))

    def xbm_loss(self, embeddings: Tensor, groups: Tensor, memory_embeddings: Tensor, memory_groups: Tensor) -> Tensor:
        """The loss of (N, D) embeddings against (K, D) of earlier batches, with (N,) and (K,) groups, a scalar.

        A loss that only has `forward` defines it to train with `TrainableModel.configure_xbm`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define xbm_loss to compare with earlier batches")


class PairwiseLoss(SimilarityLoss):
    """The base of losses over pairs: implement `compute`, or `forward(embeddings, pairs, labels, subgroups)`.

    A loss whose `compute` reads only the masks of its relation takes more than pairs, and says so in `relations`.
    """

    relations: ClassVar[frozenset[RelationKind]] = frozenset({RelationKind.PAIRS})

    def compute(
        self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer
    ) -> LossResult | Tensor:
        """The loss of a relation; for a loss that only has `forward`, what that returns."""
        _refuse_if_undefined(self, PairwiseLoss)
        if relation.kind is not RelationKind.PAIRS:
            raise TypeError(f"{type(self).__name__} takes pairs, got {relation.kind}")
        size = relation.n_queries
        rows = torch.arange(size, device=queries.device)
        subgroups = torch.zeros(2 * size, dtype=torch.long, device=queries.device)
        if relation.query_subgroups is not None and relation.document_subgroups is not None:
            subgroups = torch.cat([relation.query_subgroups, relation.document_subgroups])
        both = _one_vector_each(self, Embeddings.concatenate([queries, documents]))
        pairs = torch.stack([rows, rows + size], dim=1)
        value: Tensor = self(both, pairs, relation.paired_scores(), subgroups)
        return value

    def forward(self, embeddings: Tensor, pairs: Tensor, labels: Tensor, subgroups: Tensor) -> Tensor:
        """The loss of pairs of embeddings.

        Args:
            embeddings: (R, D), one row an object.
            pairs: (B, 2) rows of the two objects of each pair.
            labels: (B,) scores.
            subgroups: (R,) subgroups of the embeddings.

        Returns:
            A scalar.
        """
        _refuse_if_undefined(self, PairwiseLoss)
        rows = pairs.T.reshape(-1)
        first, second = subgroups.index_select(0, rows).long().reshape(2, -1)
        relation = Relation.from_pairs(labels, (first, second), (pairs[:, 0], pairs[:, 1]))
        return self._evaluate(embeddings.index_select(0, rows), relation)


def _one_vector_each(loss: SimilarityLoss, embeddings: Embeddings) -> Tensor:
    if embeddings.is_multi_vector:
        raise TypeError(
            f"{type(loss).__name__}.forward takes one vector an object, these objects have up to "
            f"{embeddings.values.shape[1]}; define compute, which is given a scorer for them"
        )
    return embeddings.values


def _refuse_if_undefined(loss: SimilarityLoss, base: type[GroupLoss] | type[PairwiseLoss]) -> None:
    """`compute` and `forward` stand in for each other; with neither there would be no end."""
    if type(loss).compute is base.compute and type(loss).forward is base.forward:
        raise NotImplementedError(f"{type(loss).__name__} must define compute or forward")
