from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, SmallModel
from torch import nn

from simlearn import LoadError, SimilarityModel, SwitchEncoder
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


class Adapted(NumbersEncoder):
    """A user's encoder: a pretrained layer that rests, and an adapter that starts from nothing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.linear.requires_grad_(False)
        self.adapter = nn.Linear(self.embedding_size, self.embedding_size)
        self.pretend = nn.Parameter(torch.ones(3), requires_grad=False)

    @property
    def pretrained(self) -> bool:
        return True

    def pretrained_parameters(self) -> Any:
        return self.linear.parameters()

    def forward(self, batch: Any) -> Any:
        return self.adapter(super().forward(batch))


def test_what_rests_of_a_trained_encoder_goes_and_comes_back() -> None:
    torch.manual_seed(0)
    model = SimilarityModel(Adapted())
    whole = {f"model.{name}": value.clone() for name, value in model.state_dict().items()}
    small = {"state_dict": dict(whole)}
    remove_frozen(model, small)
    prefix = "model.encoders.default."
    gone = set(whole) - set(small["state_dict"])
    assert gone == {prefix + "linear.weight", prefix + "linear.bias"}, "not what rests and comes from nowhere"
    restore_frozen(model, small)
    assert small["state_dict"].keys() == whole.keys()
    remove_frozen(model, small)
    with pytest.raises(LoadError, match="build the model with the same encoder"):
        restore_frozen(SimilarityModel(Adapted()), small)


class ByLength(SwitchEncoder):
    @staticmethod
    def encoder_selection(record: Any) -> str:
        return "old" if len(record) > 2 else "new"


def test_a_frozen_option_of_a_switch_goes_and_comes_back() -> None:
    switch = ByLength({"old": NumbersEncoder(frozen=True), "new": NumbersEncoder()})
    model = SimilarityModel(switch)
    whole = {f"model.{name}": value.clone() for name, value in model.state_dict().items()}
    small = {"state_dict": dict(whole)}
    remove_frozen(model, small)
    gone = set(whole) - set(small["state_dict"])
    assert len(gone) == 2 and all("linear" in name for name in gone)
    restore_frozen(model, small)
    assert all(torch.equal(small["state_dict"][name], value) for name, value in whole.items())
