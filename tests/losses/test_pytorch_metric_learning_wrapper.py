"""Losses of pytorch-metric-learning, and what happens without it."""

from __future__ import annotations

import sys

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.losses import PytorchMetricLearningWrapper
from simlearn.relations import Relation, Remembered

OBJECTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
GROUPS = torch.arange(12) % 3


def test_loss_and_miner_are_theirs() -> None:
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner

    loss, miner = TripletMarginLoss(margin=0.2), BatchHardMiner()
    expected = loss(OBJECTS, GROUPS, miner(OBJECTS, GROUPS))
    wrapper = PytorchMetricLearningWrapper(loss, miner)
    torch.testing.assert_close(wrapper(OBJECTS, GROUPS), expected)
    torch.testing.assert_close(PytorchMetricLearningWrapper(loss)(OBJECTS, GROUPS), loss(OBJECTS, GROUPS))
    assert wrapper.get_config_dict() == {"loss": "TripletMarginLoss", "miner": "BatchHardMiner"}


def test_their_parameters_are_trained() -> None:
    from pytorch_metric_learning.losses import ProxyAnchorLoss

    wrapper = PytorchMetricLearningWrapper(ProxyAnchorLoss(num_classes=3, embedding_size=5))
    wrapper(OBJECTS, GROUPS).backward()
    assert [name for name, _ in wrapper.named_parameters()] == ["loss.proxies"]
    assert all(parameter.grad is not None for parameter in wrapper.parameters())


def test_half_precision_is_widened() -> None:
    wrapper = PytorchMetricLearningWrapper("ContrastiveLoss")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = wrapper(OBJECTS.bfloat16(), GROUPS)
    torch.testing.assert_close(value, wrapper(OBJECTS.bfloat16().float(), GROUPS))


def test_earlier_batches_are_their_references() -> None:
    from pytorch_metric_learning.losses import ArcFaceLoss, TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner

    loss, miner = TripletMarginLoss(), BatchHardMiner()
    wrapper = PytorchMetricLearningWrapper(loss, miner)
    earlier = (torch.randn(7, 5, generator=torch.Generator().manual_seed(1)), torch.arange(7) % 3)
    expected = loss(OBJECTS, GROUPS, miner(OBJECTS, GROUPS, *earlier), *earlier)
    assert wrapper.takes_memory
    torch.testing.assert_close(wrapper.xbm_loss(OBJECTS, GROUPS, *earlier), expected)
    relation = Remembered(groups=earlier[1]).behind(Relation.from_groups(GROUPS))
    own = Embeddings(OBJECTS)
    both = Embeddings.concatenate([own, Embeddings(earlier[0])])
    torch.testing.assert_close(wrapper.compute(own, both, relation, wrapper.scorer()), expected)
    assert not PytorchMetricLearningWrapper(ArcFaceLoss(num_classes=3, embedding_size=5)).takes_memory


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="pytorch_metric_learning.losses has no 'Nonsense'"):
        PytorchMetricLearningWrapper("Nonsense")
    with pytest.raises(ValueError, match="pytorch_metric_learning.miners has no 'ContrastiveLoss'"):
        PytorchMetricLearningWrapper("ContrastiveLoss", "ContrastiveLoss")


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    with pytest.raises(ImportError, match="pip install pytorch-metric-learning"):
        PytorchMetricLearningWrapper("ContrastiveLoss")
