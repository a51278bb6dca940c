from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, SmallModel

from simlearn import LoadError, SimilarityModel
from simlearn.training.frozen_weights import CHECKPOINT_KEY, remove_frozen, restore_frozen


def checkpoint_of(model: SmallModel) -> dict[str, Any]:
    return {"state_dict": {name: value.clone() for name, value in model.state_dict().items()}}


def test_frozen_weights_go_and_come_back() -> None:
    model = SmallModel(frozen=True)
    whole = checkpoint_of(model)
    small = copy.deepcopy(whole)
    remove_frozen(model.model, small)
    assert set(whole["state_dict"]) - set(small["state_dict"]) == {
        "model.encoders.default.linear.weight",
        "model.encoders.default.linear.bias",
    }
    assert set(small[CHECKPOINT_KEY]) == {"default"}
    restore_frozen(model.model, small)
    for name, expected in whole["state_dict"].items():
        assert torch.equal(small["state_dict"][name], expected)


def test_trained_weights_stay() -> None:
    model = SmallModel()
    checkpoint = checkpoint_of(model)
    remove_frozen(model.model, checkpoint)
    assert set(checkpoint["state_dict"]) == set(model.state_dict())
    assert checkpoint[CHECKPOINT_KEY] == {}


def test_another_frozen_encoder_is_refused() -> None:
    checkpoint = checkpoint_of(SmallModel(frozen=True))
    remove_frozen(SmallModel(frozen=True).model, checkpoint)
    with pytest.raises(LoadError, match="build the model with the same encoder"):
        restore_frozen(SmallModel(frozen=True, seed=1).model, checkpoint)


def test_a_checkpoint_of_the_first_format_is_resumed() -> None:
    """It told an encoder by class, config and weights; this is what it said of these."""
    encoder: Any = NumbersEncoder(2, 3, frozen=True)
    with torch.no_grad():
        encoder.linear.weight.fill_(0.5)
        encoder.linear.bias.fill_(0.25)
    model = SimilarityModel(encoder)
    known = "b69d03027104e0acb24159cea18b2cf0"
    restore_frozen(model, {"state_dict": {}, CHECKPOINT_KEY: {"default": known}})
    with torch.no_grad():
        encoder.linear.bias.fill_(0.5)
    with pytest.raises(LoadError, match="build the model with the same encoder"):
        restore_frozen(model, {"state_dict": {}, CHECKPOINT_KEY: {"default": known}})
