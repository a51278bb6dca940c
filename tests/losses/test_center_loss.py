"""Quaterion's value, and several centres for several labels."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import CenterLoss
from simlearn.relations import Relation


def test_the_value_is_that_of_quaterion() -> None:
    loss, embeddings, groups = CenterLoss(4, 3, 0.7, classes=None), torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    loss.set_classes(groups)
    expected = 0.7 * F.mse_loss(F.normalize(embeddings), loss.kernel.T[groups])
    torch.testing.assert_close(loss(embeddings, groups), expected)


def test_several_labels_and_unknown_ones() -> None:
    loss, embeddings = CenterLoss(4, 3), torch.randn(3, 4)
    loss.set_classes(torch.tensor([0, 1, 2]))
    relation = Relation.from_labels(torch.tensor([0, 3, 4, 4]), torch.tensor([0, 2, 9, 8]))
    objects = Embeddings(embeddings)
    result = loss.compute(objects, objects, relation, loss.scorer())
    unit = F.normalize(embeddings)[0]
    both = [F.mse_loss(unit, loss.kernel[:, one]) for one in (0, 2)]
    torch.testing.assert_close(result.value, 0.5 * (both[0] + both[1]) / 2)
    assert {name: int(count) for name, count in result.counts.items()} == {
        "unknown_labels": 2,
        "objects_without_class": 2,
    }


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="lambda_c must be above 0"):
        CenterLoss(4, 3, 0.0)
