"""What losses over rankings share: each query with candidates of its own, as many as it has."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.precision import at_least_single
from simlearn.ragged import Ragged, sums
from simlearn.relations import Relation, RelationCheck, RelationKind
from simlearn.scoring import Scorer


class Candidates(NamedTuple):
    """The M candidates of N queries, query after query.

    Args:
        scores: (M,) of each candidate for its query, in at least fp32.
        relevances: (M,) as they were given, in the same dtype.
        owners: (M,) int64, the query of each.
        offsets: (N + 1,) int64: the candidates of query i are those from `offsets[i]` to `offsets[i + 1]`.
    """

    scores: Tensor
    relevances: Tensor
    owners: Tensor
    offsets: Tensor

    @property
    def counts(self) -> Tensor:
        """(N,) how many candidates each query has."""
        return self.offsets.diff()

    @property
    def chosen_from(self) -> Tensor:
        """(N,) whether a query has at least two candidates: of one there is nothing to learn."""
        return self.counts > 1

    def sum(self, values: Tensor) -> Tensor:
        """(M,) values summed up for each query, (N,); 0 for a query without candidates."""
        return sums(values, self.owners, len(self.offsets) - 1)

    def log_softmax(self, values: Tensor) -> Tensor:
        """The logarithms (M,) of each query's softmax over its own candidates."""
        highest = values.new_full((len(self.offsets) - 1,), -torch.inf)
        highest = highest.scatter_reduce(0, self.owners, values.detach(), reduce="amax")
        shifted = values - highest[self.owners]
        return shifted - self.sum(shifted.exp())[self.owners].log()

    def mean_of(self, terms: Tensor, counted: Tensor, **counts: Tensor) -> LossResult:
        """The mean of (N,) terms over the queries that are `counted` (N,), the others being zeros in the graph."""
        total = torch.where(counted, terms, 0.0).sum()
        return LossResult(total, counted.sum(), {"queries_without_choice": (~self.chosen_from).sum(), **counts})


class RankingLoss(SimilarityLoss):
    """The base of losses over rankings: implement `rank`, which is given the scores of each query's own candidates.

    Only these are scored, so that memory grows with the number of candidates. Every query weighs the same,
    however many it has; one with fewer than two adds a zero and is counted.
    """

    relations: ClassVar[frozenset[RelationKind]] = frozenset({RelationKind.RANKING})
    needs_positives: ClassVar[bool] = False
    needs_negatives: ClassVar[bool] = False
    takes_batch_as_negatives: ClassVar[bool] = False
    compares_across_batch: ClassVar[bool] = False

    def rank(self, candidates: Candidates) -> LossResult:
        """The loss of the candidates of all queries."""
        raise NotImplementedError(f"{type(self).__name__} must define rank")

    def relation_check(self, training: bool = True) -> RelationCheck:
        """Refuses relevances that are no finite numbers."""
        return partial(_refuse_infinite, type(self).__name__)

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of a ranking."""
        if relation.kind is not RelationKind.RANKING or relation.offsets is None or relation.scores is None:
            raise TypeError(f"{type(self).__name__} takes rankings with their candidates, got {relation.kind}")
        owners = Ragged(relation.offsets, relation.scores).owners()
        with torch.autocast(queries.device.type, enabled=False):
            scores = scorer.candidates(queries, documents, relation.offsets)
            scores = scores.to(at_least_single(scores))
            return self.rank(Candidates(scores, relation.scores.to(scores.dtype), owners, relation.offsets))


def relevances_of(name: str, relation: Relation) -> Tensor:
    """The relevances (M,) of a ranking as they were given.

    Raises:
        ValueError: for another relation, and for relevances that are no finite numbers.
    """
    if relation.kind is not RelationKind.RANKING or relation.scores is None:
        raise ValueError(f"{name} takes rankings, got {relation.kind}")
    wrong = ~torch.isfinite(relation.scores)
    if bool(wrong.any()):
        raise ValueError(
            f"{name} takes finite relevances, got {relation.scores[wrong][0].item():g}; drop or mend these candidates"
        )
    return relation.scores


def _refuse_infinite(name: str, relation: Relation) -> None:
    relevances_of(name, relation)
