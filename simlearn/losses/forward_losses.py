"""Losses that know no relations: Quaterion's, of which a user writes `forward`."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer


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
        embeddings, groups, *earlier = self.with_groups(queries, documents, relation)
        value: Tensor = self.xbm_loss(embeddings, groups, *earlier) if earlier else self(embeddings, groups)
        return value

    def with_groups(self, queries: Embeddings, documents: Embeddings, relation: Relation) -> list[Tensor]:
        """What a loss that knows no relations is given: embeddings (N, D) and groups (N,).

        Args:
            queries: N embeddings.
            documents: M embeddings, of which the queries are the first.
            relation: of groups.

        Returns:
            Embeddings and groups of the queries; then, if M > N, those of the other documents, of earlier batches.

        Raises:
            TypeError: for a relation of another kind, and objects of many vectors.
        """
        if relation.groups is None:
            raise TypeError(f"{type(self).__name__} takes groups, got {relation.kind}")
        tensors, size = [_one_vector_each(self, queries), relation.groups[: len(queries)]], len(queries)
        if relation.n_documents > size:
            tensors += [_one_vector_each(self, documents.take(slice(size, None))), relation.groups[size:]]
        return tensors

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
