"""What a sum takes from its losses."""

from __future__ import annotations

import pickle

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.losses import (
    CenterLoss,
    ContrastiveLoss,
    LossResult,
    MultipleNegativesRankingLoss,
    PairwiseLoss,
    SoftmaxLoss,
    SumLoss,
    TripletLoss,
)
from simlearn.losses.class_loss import class_losses
from simlearn.relations import Relation

GROUPS = torch.tensor([0, 1, 1, 0, 2])


def test_the_value_is_the_weighted_sum_and_counts_have_names() -> None:
    triplet, softmax = TripletLoss(), SoftmaxLoss(4, 3)
    softmax.set_classes(GROUPS)
    loss, embeddings = SumLoss({"a": triplet, "b": softmax}, [0.5, 2.0]), torch.randn(5, 4)
    objects = Embeddings(embeddings)
    result = loss.compute(objects, objects, Relation.from_groups(GROUPS), loss.scorer())
    assert isinstance(result, LossResult)
    expected = 0.5 * triplet(embeddings, GROUPS) + 2 * softmax(embeddings, GROUPS)
    torch.testing.assert_close(result.value, expected)
    assert set(result.counts) == {"a_anchors_without_positive", "a_anchors_without_negative", "b_unknown_groups"}


def test_what_it_takes_and_needs() -> None:
    loss = SumLoss([CenterLoss(4, 3), TripletLoss(), TripletLoss(0.1)])
    assert {kind.value for kind in loss.relations} == {"groups", "labels"}
    assert loss.needs_positives and loss.needs_negatives and loss.takes_batch_as_negatives
    assert list(loss.losses) == ["CenterLoss", "TripletLoss", "TripletLoss2"]
    alone = SumLoss([CenterLoss(4, 3)])
    assert not alone.needs_positives and not alone.needs_negatives
    assert SumLoss([TripletLoss(distance_metric_name="euclidean"), TripletLoss()]).distance == "euclidean"


def test_class_losses_are_found_wherever_they_are() -> None:
    softmax, center = SoftmaxLoss(4, 3), CenterLoss(4, 3)
    assert class_losses(softmax) == [softmax] and class_losses(TripletLoss()) == []
    assert class_losses(SumLoss([TripletLoss(), SumLoss([softmax, center])])) == [softmax, center]


def test_all_checks_are_made() -> None:
    assert SumLoss([TripletLoss()]).relation_check() is None
    check = pickle.loads(pickle.dumps(SumLoss([TripletLoss(), MultipleNegativesRankingLoss()]).relation_check()))
    check(Relation.from_pairs(torch.ones(2)))
    with pytest.raises(ValueError, match="got the score 0.5"):
        check(Relation.from_pairs(torch.tensor([1.0, 0.5])))


class Own(PairwiseLoss):
    def forward(self, embeddings: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return embeddings.sum()


def test_a_users_loss_takes_part_but_no_config_makes_it() -> None:
    loss = SumLoss({"own": Own(), "pairs": ContrastiveLoss()})
    queries, documents = Embeddings(torch.ones(2, 4)), Embeddings(torch.ones(2, 4))
    result = loss.compute(queries, documents, Relation.from_pairs(torch.ones(2)), loss.scorer())
    assert result.value == 16
    with pytest.raises(ValueError, match="'Own' is no loss of simlearn"):
        SumLoss(**loss.get_config_dict())


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="at least one loss"):
        SumLoss([])
    with pytest.raises(ValueError, match="weights must be 1 numbers above 0"):
        SumLoss([TripletLoss()], [1.0, 2.0])
    with pytest.raises(ValueError, match="no kind of samples in common: .*SoftmaxLoss takes groups or labels"):
        SumLoss([SoftmaxLoss(4, 3), ContrastiveLoss()])
    with pytest.raises(ValueError, match="these name cosine, euclidean"):
        SumLoss([TripletLoss(0.1, "cosine"), TripletLoss(0.1, "euclidean")])
    with pytest.raises(TypeError, match="expected a loss"):
        SumLoss({"a": 3})  # type: ignore[dict-item]
