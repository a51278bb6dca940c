"""The base classes: users' own losses with only `forward`, and the two ways to call a loss."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses import (
    GroupLoss,
    LossResult,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    PairwiseLoss,
    SimilarityLoss,
    SumLoss,
    TripletLoss,
)
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, Scorer


class Spread(GroupLoss):
    """A loss as Quaterion's users write it, over groups."""

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        return (embeddings * groups[:, None]).square().sum()


class Gap(PairwiseLoss):
    """A loss as Quaterion's users write it, over pairs."""

    def forward(self, embeddings: Tensor, pairs: Tensor, labels: Tensor, subgroups: Tensor) -> Tensor:
        distances = (embeddings[pairs[:, 0]] - embeddings[pairs[:, 1]]).square().sum(1)
        return (labels * distances).sum() + (embeddings.sum(1) * subgroups).sum()


class Mean(SimilarityLoss):
    """A loss of the new kind, which returns a bare tensor."""

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> Tensor:
        return scorer.distances(queries, documents).mean()


class MeanOfGroups(GroupLoss):
    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        assert documents is queries
        return LossResult(scorer.distances(queries, documents)[relation.positives()].mean(), 1, {"n": torch.tensor(1)})


def vectors(size: int, seed: int = 0) -> Embeddings:
    return Embeddings(torch.randn(size, 3, generator=torch.Generator().manual_seed(seed)).requires_grad_())


def test_a_group_loss_with_only_forward_computes() -> None:
    objects, groups = vectors(4), torch.tensor([1, 2, 2, 1])
    value = Spread().compute(objects, objects, Relation.from_groups(groups), DistanceScorer())
    torch.testing.assert_close(value, Spread()(objects.values, groups))
    value.backward()
    assert objects.values.grad is not None and objects.values.grad.any()


def test_a_pair_loss_with_only_forward_computes() -> None:
    queries, documents = vectors(3), vectors(3, 1)
    scores, subgroups = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([0, 4, 5])
    rows = torch.arange(3)
    for own, expected in ((subgroups, subgroups), (None, torch.zeros(3))):
        value = Gap().compute(queries, documents, Relation.from_pairs(scores, own), DistanceScorer())
        both = torch.cat([queries.values, documents.values])
        arguments = torch.stack([rows, rows + 3], 1), scores, expected.repeat(2)
        torch.testing.assert_close(value, Gap()(both, *arguments))


def test_a_pair_loss_sees_the_scores_as_they_were_given() -> None:
    queries, documents = vectors(2), vectors(2, 1)
    ids = (torch.tensor([1, 1]), torch.tensor([2, 2]))
    relation = Relation.from_pairs(torch.tensor([1.0, 0.25]), ids=ids)
    distances = (queries.values - documents.values).square().sum(1)
    value = Gap().compute(queries, documents, relation, DistanceScorer())
    torch.testing.assert_close(value, distances[0] + 0.25 * distances[1])


def test_what_only_forward_can_read_is_all_it_takes() -> None:
    assert Spread.relations == {RelationKind.GROUPS} and Gap.relations == {RelationKind.PAIRS}
    objects = vectors(2)
    pairs, groups = Relation.from_pairs(torch.ones(2)), Relation.from_groups(torch.arange(2))
    with pytest.raises(TypeError, match="Spread takes groups, got pairs"):
        Spread().compute(objects, objects, pairs, DistanceScorer())
    with pytest.raises(TypeError, match="Gap takes pairs, got groups"):
        Gap().compute(objects, objects, groups, DistanceScorer())


@pytest.mark.parametrize("loss", [Spread(), Gap()], ids=["groups", "pairs"])
def test_forward_takes_one_vector_an_object(loss: SimilarityLoss) -> None:
    many = Embeddings(torch.zeros(2, 5, 3))
    pairs, groups = Relation.from_pairs(torch.ones(2)), Relation.from_groups(torch.arange(2))
    with pytest.raises(
        TypeError, match="forward takes one vector an object, these objects have up to 5; define compute"
    ):
        loss.compute(many, many, groups if isinstance(loss, GroupLoss) else pairs, DistanceScorer())


def test_a_loss_with_only_compute_can_be_called() -> None:
    objects, groups = vectors(4).values, torch.tensor([1, 2, 2, 1])
    distances = 1 - F.cosine_similarity(objects[:, None], objects[None], dim=2)
    expected = distances[[0, 1], [3, 2]].mean()
    torch.testing.assert_close(MeanOfGroups()(objects, groups), expected)
    euclidean = torch.cdist(objects, objects)[[0, 1], [3, 2]].mean()
    torch.testing.assert_close(MeanOfGroups("euclidean")(objects, groups), euclidean)


class Nothing(GroupLoss):
    pass


class NoPairs(PairwiseLoss):
    pass


@pytest.mark.parametrize(
    "call",
    [
        lambda *batch: Nothing().compute(*batch),
        lambda *batch: NoPairs().compute(*batch),
        lambda *batch: SimilarityLoss().compute(*batch),
        lambda *_: Nothing()(torch.ones(2, 3), torch.arange(2)),
        lambda *_: NoPairs()(torch.ones(2, 3), torch.tensor([[0, 1]]), torch.ones(1), torch.zeros(2)),
    ],
)
def test_one_of_the_two_must_be_defined(call: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"(Nothing|NoPairs|SimilarityLoss) must define compute or forward"):
        call(vectors(2), vectors(2), Relation.from_groups(torch.arange(2)), DistanceScorer())


def test_the_distance_of_a_loss_is_its_scorer() -> None:
    assert Mean().distance is None and Mean().get_config_dict() == {}
    scorer = Mean().scorer()
    assert isinstance(scorer, DistanceScorer) and scorer.distance is Distance.COSINE
    named = Mean(Distance.MANHATTAN)
    assert named.get_config_dict() == {"distance_metric_name": "manhattan"}
    assert named.scorer().distance is Distance.MANHATTAN  # type: ignore[attr-defined]
    assert Mean().relation_check() is None


class NearMean(Mean):
    """A user's loss over a user's loss."""

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> Tensor:
        return super().compute(queries, documents, relation, scorer) / 2


NAMED = {
    "library": TripletLoss(distance_metric_name="euclidean"),
    "sum": SumLoss([TripletLoss(distance_metric_name="euclidean"), MultipleNegativesRankingLoss()]),
    "matryoshka": MatryoshkaLoss(TripletLoss(distance_metric_name="euclidean"), [2, 3]),
    "own": Mean("euclidean"),
    "own of own": NearMean("euclidean"),
    "own with forward": Spread("euclidean"),
}


@pytest.mark.parametrize("loss", NAMED.values(), ids=NAMED.keys())
def test_a_scorer_that_contradicts_the_loss_is_refused(loss: SimilarityLoss) -> None:
    objects = vectors(4)
    batch = objects, objects, Relation.from_groups(torch.tensor([0, 0, 1, 1]))
    for scorer in (DotScorer(), CosineScorer(), DistanceScorer("manhattan")):
        with pytest.raises(ValueError, match=rf"compares by euclidean, the scorer by {scorer.distance.value}; name"):
            loss.compute(*batch, scorer)
    value = loss.compute(*batch, DistanceScorer("euclidean"))
    torch.testing.assert_close(
        value.value if isinstance(value, LossResult) else value, loss(objects.values, batch[2].groups)
    )


def test_a_loss_without_a_distance_takes_any_scorer_and_a_scorer_without_one_any_loss() -> None:
    class Own(Scorer):
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return queries.values @ documents.values.T

    objects = vectors(4)
    batch = objects, objects, Relation.from_groups(torch.tensor([0, 0, 1, 1]))
    expected = Mean("dot_product").compute(*batch, DotScorer())
    torch.testing.assert_close(Mean().compute(*batch, DotScorer()), expected)
    torch.testing.assert_close(Mean("euclidean").compute(*batch, Own()), expected)


def test_compute_stays_the_method_that_its_author_wrote() -> None:
    """Its name, its docstring and its signature, for whoever reads the documentation."""
    assert TripletLoss.compute.__doc__ == "The loss of any relation."
    assert list(inspect.signature(TripletLoss.compute).parameters)[1:] == "queries documents relation scorer".split()


class Weighed(GroupLoss):
    """A user's `forward` with a signature of its own, and one that asks the base for more."""

    def forward(self, embeddings: Tensor, groups: Tensor, weight: float = 2.0) -> Tensor:
        return weight * Spread()(embeddings, groups)


class Doubled(TripletLoss):
    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        value: Tensor = 2 * super().forward(embeddings, groups)
        return value


def test_a_forward_of_ones_own_is_called_as_it_is() -> None:
    objects, groups = vectors(4).values, torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(Weighed()(objects, groups, weight=3.0), 3 * Spread()(objects, groups))
    torch.testing.assert_close(Doubled()(embeddings=objects, groups=groups), 2 * TripletLoss()(objects, groups))


def test_many_vectors_reach_the_scorer() -> None:
    """A library loss asks only the scorer, so a scorer of many vectors works with it."""

    class MaxSim(Scorer):
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return torch.einsum("nqd,mkd->nmqk", queries.values, documents.values).amax(3).sum(2)

    queries, documents = Embeddings(torch.randn(3, 2, 4)), Embeddings(torch.randn(3, 5, 4))
    loss, scorer = MultipleNegativesRankingLoss(scale=1.0), MaxSim()
    value = loss.compute(queries, documents, Relation.from_pairs(torch.ones(3)), scorer).value
    torch.testing.assert_close(value, F.cross_entropy(scorer(queries, documents), torch.arange(3)))
