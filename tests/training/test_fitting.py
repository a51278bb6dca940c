"""The entry point: what it trains and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, pairs, quiet_trainer, small_pairs, weights

from simlearn import (
    PairsSimilarityDataLoader,
    fit,
    trainer_defaults,
)


def test_one_loader_fits_twice_and_is_left_as_it_was() -> None:
    loader = small_pairs()
    before = dict(vars(loader))
    first, second = SmallModel(), SmallModel()
    fit(first, loader, trainer=quiet_trainer())
    fit(second, loader, trainer=quiet_trainer())
    for name, expected in weights(first).items():
        assert torch.equal(weights(second)[name], expected)
    assert vars(loader) == before
    assert next(iter(loader)).queries == [sample.obj_a for sample in pairs()[:16]]


def test_a_model_can_be_fitted_again() -> None:
    model = SmallModel()
    fit(model, small_pairs(), trainer=quiet_trainer())
    once = weights(model)
    fit(model, small_pairs(), trainer=quiet_trainer())
    assert any(not torch.equal(weights(model)[name], value) for name, value in once.items())


def test_users_trainer_keeps_its_callbacks_only() -> None:
    trainer = quiet_trainer()
    before = list(trainer.callbacks)
    fit(SmallModel(), small_pairs(), small_pairs(), trainer=trainer)
    assert trainer.callbacks == before


def test_own_trainer_stops_early_and_restores_the_best_weights(capsys: pytest.CaptureFixture[str]) -> None:
    class Watching(SmallModel):
        history: list[tuple[float, dict[str, torch.Tensor]]]

        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            if not self.trainer.sanity_checking:
                self.history.append((float(self.trainer.callback_metrics["validation_loss"]), weights(self)))

    model = Watching(learning_rate=0.5)
    model.history = []
    fit(model, small_pairs(), PairsSimilarityDataLoader(pairs(32, seed=40), batch_size=16))
    losses = [loss for loss, _ in model.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 or len(losses) == 100
    assert best < len(losses) - 1, "this test needs a run whose last epoch is not its best"
    for name, expected in model.history[best][1].items():
        assert torch.equal(weights(model)[name], expected)
    assert "No validation data" not in capsys.readouterr().out


def test_without_validation_ten_epochs_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = SmallModel()
    fit(model, small_pairs())
    assert capsys.readouterr().out == "No validation data: training for 10 epochs.\n"
    assert model.model.card.training["epochs"] == 10


def test_trainer_defaults_are_arguments_of_a_trainer() -> None:
    arguments = trainer_defaults()
    arguments["min_epochs"] = 2
    arguments["max_epochs"] = 3
    arguments["callbacks"].append(pl.Callback())
    trainer = pl.Trainer(**arguments)
    fit(SmallModel(), small_pairs(), trainer=trainer)
    assert trainer.current_epoch == 3


def test_an_error_in_training_leaves_trainer_and_model_usable() -> None:
    class Stumbles(SmallModel):
        stumble = True

        def process_results(self, *args: Any, **kwargs: Any) -> None:
            if self.stumble:
                raise RuntimeError("stumbled")

    model, trainer = Stumbles(), quiet_trainer()
    before = list(trainer.callbacks)
    with pytest.raises(RuntimeError, match="stumbled"):
        fit(model, small_pairs(), trainer=trainer)
    assert trainer.callbacks == before
    model.stumble = False
    fit(model, small_pairs(), trainer=quiet_trainer())
