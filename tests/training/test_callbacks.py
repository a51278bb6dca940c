from __future__ import annotations

import pytest
import torch
from small_models import SmallModel, pairs, quiet_trainer, small_pairs, weights

from simlearn import PairsSimilarityDataLoader, fit
from simlearn.training import BestWeights, FitProgressBar


def test_the_bar_shows_epoch_batches_and_figures_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = quiet_trainer(callbacks=[FitProgressBar()], enable_progress_bar=True)
    fit(SmallModel(), small_pairs(), small_pairs(), trainer=trainer)
    shown = capsys.readouterr().err
    last = shown.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("Epoch 2/2: 100%")
    assert "4/4" in last and "train_loss=" in last and "validation_loss=" in last
    assert shown.count("\n") == 1, "a new line for every epoch or validation would scroll the terminal"


def test_the_bar_can_be_silent(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = quiet_trainer(callbacks=[FitProgressBar(refresh_rate=0)], enable_progress_bar=True)
    fit(SmallModel(), small_pairs(), trainer=trainer)
    assert "Epoch" not in capsys.readouterr().err


def test_an_error_leaves_the_bar_closed() -> None:
    class Stumbles(SmallModel):
        def process_results(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("stumbled")

    bar = FitProgressBar()
    with pytest.raises(RuntimeError, match="stumbled"):
        fit(Stumbles(), small_pairs(), trainer=quiet_trainer(callbacks=[bar], enable_progress_bar=True))
    assert bar._bar is None


def test_best_weights_follow_the_metric_and_ignore_what_is_not_a_number() -> None:
    class Scripted(SmallModel):
        losses = (float("nan"), 3.0, 1.0, 2.0)
        kept: list[dict[str, torch.Tensor]]

        def on_validation_epoch_end(self) -> None:
            if not self.trainer.sanity_checking:
                self.log("validation_loss", self.losses[self.current_epoch])
                self.kept.append(weights(self))

    model, best = Scripted(), BestWeights()
    model.kept = []
    validation = PairsSimilarityDataLoader(pairs(16), batch_size=8)
    fit(model, small_pairs(), validation, trainer=quiet_trainer(callbacks=[best], max_epochs=4))
    assert (best.best, best.epoch) == (1.0, 2)
    for name, expected in model.kept[2].items():
        assert torch.equal(weights(model)[name], expected)
