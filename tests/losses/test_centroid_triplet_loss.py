"""Centroid triplets: by hand, and what has no centroid."""

from __future__ import annotations

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.losses import CentroidTripletLoss
from simlearn.relations import Relation

POINTS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 5.0], [9.0, 9.0]])
GROUPS = torch.tensor([7, 7, 7, 8, 8, 9])


def test_own_centroids_leave_the_anchor_out() -> None:
    loss = CentroidTripletLoss(2.0, "euclidean")
    # Of the first three the others' means are (3, 0), (2, 0) and (1, 0); the other centroids are (0, 4) and (9, 9).
    own = [3.0, 0.0, 3.0, 2.0, 2.0]
    other = [4.0, 20**0.5, 32**0.5, 13**0.5, 29**0.5]
    expected = sum(max(p - n + 2.0, 0.0) for p, n in zip(own, other, strict=True)) / 5
    objects = Embeddings(POINTS)
    result = loss.compute(objects, objects, Relation.from_groups(GROUPS), loss.scorer())
    assert result.value.item() == pytest.approx(expected)
    assert {name: int(count) for name, count in result.counts.items()} == {
        "anchors_without_positive": 1,
        "anchors_without_negative": 0,
    }


def test_one_class_teaches_nothing() -> None:
    points = POINTS.clone().requires_grad_()
    value = CentroidTripletLoss()(points, torch.zeros(6))
    assert value == 0 and not torch.autograd.grad(value, points)[0].any()


def test_separated_groups_have_no_loss_and_mixed_ones_have() -> None:
    separated, groups = torch.eye(4).repeat_interleave(3, 0), torch.arange(4).repeat_interleave(3)
    assert CentroidTripletLoss()(separated, groups) == 0
    assert CentroidTripletLoss()(separated, groups.roll(1)) > 0.1


def test_many_vectors_an_object_have_no_centroid() -> None:
    loss, objects = CentroidTripletLoss(), Embeddings(torch.randn(6, 2, 3))
    with pytest.raises(ValueError, match="one vector an object"):
        loss.compute(objects, objects, Relation.from_groups(GROUPS), loss.scorer())


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="margin must not be negative, got -0.1"):
        CentroidTripletLoss(-0.1)
