"""Losses as users write them on `MaskLoss`: a formula over a few rows, and nothing of tiles, processes or memories."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from asymmetric_scorers import MaxSim
from torch import Tensor, nn

from simlearn import MaskLoss, MatryoshkaLoss, SumLoss, verify_distributed
from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, TripletLoss
from simlearn.relations import Relation


class MeanHinge(MaskLoss):
    """Every negative against the mean of the positives, with a margin that is learnt and a weight that is not."""

    def __init__(self, margin: float = 0.2, distance_metric_name: Any = None) -> None:
        super().__init__(distance_metric_name)
        self.margin = nn.Parameter(torch.tensor(margin))
        self.weight = nn.Parameter(torch.tensor(2.0), requires_grad=False)

    def policy(self, scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        counts = positives.sum(1)
        mean = torch.where(positives, scores, 0.0).sum(1) / counts.clamp(min=1)
        gaps = (scores - mean[:, None] + self.margin).relu() * self.weight
        rows = torch.where(negatives & (counts > 0)[:, None], gaps, 0.0).sum(1)
        return LossResult(rows.sum(), (counts > 0).sum(), {"alone": (counts == 0).sum()})


class Distances(MaskLoss):
    """By distance, without a parameter."""

    by_distance = True

    def policy(self, distances: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
        return LossResult((distances * positives - distances.tanh() * negatives).sum(), len(distances), {})


def data() -> tuple[Tensor, Relation]:
    values = torch.randn(30, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return values, Relation.from_groups(torch.arange(30) % 11)


@pytest.mark.parametrize("tile_bytes", [1, 3000, 2**26])
@pytest.mark.parametrize("kind", [MeanHinge, Distances])
def test_it_is_the_formula_over_the_whole_matrix(kind: type[MaskLoss], tile_bytes: int) -> None:
    values, relation = data()
    loss = kind().double()
    loss.tile_bytes = tile_bytes
    values.requires_grad_()
    objects, scorer = Embeddings(values), loss.scorer()
    result = loss.compute(objects, objects, relation, scorer)
    matrix = scorer.distances(objects, objects) if loss.by_distance else scorer(objects, objects)
    expected = loss.policy(matrix, relation.positives(), relation.negatives())
    torch.testing.assert_close(result.value, expected.value)
    assert {name: int(count) for name, count in result.counts.items()} == {
        name: int(count) for name, count in expected.counts.items()
    }
    sought = [values, *(parameter for parameter in loss.parameters() if parameter.requires_grad)]
    for one, other in zip(
        torch.autograd.grad(result.value, sought), torch.autograd.grad(expected.value, sought), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_under_a_scorer_of_many_vectors_that_is_not_symmetric() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(5, 3, 4, requires_grad=True), torch.randn(7, 2, 4)
    relation = Relation.from_matrix(torch.rand(5, 7) > 0.6)
    loss, scorer = MeanHinge(), MaxSim()
    loss.tile_bytes = 1
    first, second = Embeddings(queries), Embeddings(documents)
    result = loss.compute(first, second, relation, scorer)
    expected = loss.policy(scorer(first, second), relation.positives(), relation.negatives())
    torch.testing.assert_close(result.value, expected.value)
    torch.testing.assert_close(
        torch.autograd.grad(result.value, [queries, loss.margin]),
        torch.autograd.grad(expected.value, [queries, loss.margin]),
    )


@pytest.mark.parametrize("kind", [MeanHinge, Distances])
def test_two_processes_train_it_like_one(kind: type[MaskLoss]) -> None:
    verify_distributed(kind())


def test_inside_others() -> None:
    values, relation = data()
    objects, loss = Embeddings(values), MeanHinge().double()
    own = loss.compute(objects, objects, relation, loss.scorer()).value
    triplet = TripletLoss()
    both = SumLoss([loss, triplet], weights=[0.5, 2.0])
    value = both.compute(objects, objects, relation, both.scorer()).value
    torch.testing.assert_close(value, 0.5 * own + 2 * triplet.compute(objects, objects, relation, both.scorer()).value)
    cut = Embeddings(values[:, :3])
    value = MatryoshkaLoss(loss, dims=[3, 6]).compute(objects, objects, relation, loss.scorer()).value
    torch.testing.assert_close(value, own + loss.compute(cut, cut, relation, loss.scorer()).value)


def test_graded_scores_are_refused_unless_it_takes_them() -> None:
    class Graded(MeanHinge):
        takes_graded_scores = True

    queries, documents = torch.randn(3, 4), torch.randn(3, 4)
    with pytest.raises(ValueError, match=r"MeanHinge got the score 0.5: a pair is either a positive \(1\)"):
        MeanHinge()(queries, documents, scores=torch.tensor([1.0, 0.5, 0.0]))
    assert Graded()(queries, documents, scores=torch.tensor([1.0, 0.5, 0.0])).isfinite()


def test_without_a_policy_it_says_so() -> None:
    class Nothing(MaskLoss):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must define policy"):
        Nothing()(torch.randn(3, 4), groups=torch.tensor([0, 0, 1]))
