"""Embeddings cut short, and class vectors with them."""

from __future__ import annotations

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.losses import CosFaceLoss, MatryoshkaLoss, SampledSoftmaxLoss, SoftmaxLoss, SumLoss, TripletLoss
from simlearn.losses.class_loss import class_losses
from simlearn.relations import Relation

GROUPS = torch.tensor([0, 1, 1, 0, 2])


def value_of(loss: MatryoshkaLoss, embeddings: torch.Tensor) -> torch.Tensor:
    objects = Embeddings(embeddings)
    return loss.compute(objects, objects, Relation.from_groups(GROUPS), loss.scorer()).value


def test_the_value_is_the_sum_over_lengths() -> None:
    inner, embeddings = TripletLoss(), torch.randn(5, 8)
    expected = 0.5 * inner(embeddings[:, :3], GROUPS) + inner(embeddings, GROUPS)
    torch.testing.assert_close(value_of(MatryoshkaLoss(inner, [3, 8], [0.5, 1.0]), embeddings), expected)


@pytest.mark.parametrize("kind", [SoftmaxLoss, CosFaceLoss, SampledSoftmaxLoss])
def test_class_vectors_are_cut_and_learn(kind: type[SoftmaxLoss]) -> None:
    inner, small = kind(8, 3), kind(3, 3)
    loss = MatryoshkaLoss(SumLoss([inner]), [3])
    (found,) = class_losses(loss)
    assert found is inner
    inner.set_classes(GROUPS)
    small.set_classes(GROUPS)
    with torch.no_grad():
        small.kernel.copy_(inner.truncated(3)["kernel"])
    embeddings = torch.randn(5, 8)
    value = value_of(loss, embeddings)
    torch.testing.assert_close(value, small(embeddings[:, :3], GROUPS))
    value.backward()
    assert inner.kernel.grad is not None and inner.kernel.grad.any()


def test_lengths_are_checked() -> None:
    with pytest.raises(ValueError, match="dims go up to 9, the embeddings have 8 values"):
        value_of(MatryoshkaLoss(TripletLoss(), [4, 9]), torch.randn(5, 8))
    with pytest.raises(ValueError, match="dims go up to 9, SoftmaxLoss was built for embeddings of 8 values"):
        MatryoshkaLoss(SumLoss([SoftmaxLoss(8, 3)]), [9])
    with pytest.raises(ValueError, match="dims must be lengths of at least 1"):
        MatryoshkaLoss(TripletLoss(), [])
    with pytest.raises(ValueError, match="weights must be 1 numbers above 0"):
        MatryoshkaLoss(TripletLoss(), [4], [0.0])
