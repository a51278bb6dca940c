from __future__ import annotations

import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, groups, pairs, quiet_trainer, small_pairs, weights

from simlearn import CacheConfig, Distance, GroupSimilarityDataLoader, PairsSimilarityDataLoader, TripletLoss, fit
from simlearn.training import SpaceHealth, trainer_defaults


class Collapses(SmallModel):
    """Everything goes to one point at the first step."""

    def on_train_batch_end(self, *args: Any) -> None:
        with torch.no_grad():
            linear = self.model.encoders["default"].linear
            linear.weight.mul_(1e-4)
            linear.bias.fill_(1.0)


def told(model: SmallModel, health: SpaceHealth, loader: Any = None, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, loader or small_pairs(), trainer=quiet_trainer(callbacks=[health], **options))
    return [str(one.message) for one in caught if "collapsed" in str(one.message) or "diverged" in str(one.message)]


def test_a_healthy_training_is_measured_and_nothing_is_said() -> None:
    health = SpaceHealth()
    trainer = quiet_trainer(callbacks=[health])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*collapsed.*")
        fit(SmallModel(), small_pairs(), trainer=trainer)
    logged = {name for name in trainer.callback_metrics if name.startswith("health_")}
    assert logged == {
        "health_" + one
        for one in (
            "mean_cosine mean_distance effective_rank uniformity hubness norm_spread dead_dimensions alignment".split()
        )
    }
    assert health.first is not None and health.last is not None
    assert health.last.count == 16 and float(trainer.callback_metrics["health_alignment"]) < 0.5


def test_a_collapse_is_told_once_with_cause_and_cure() -> None:
    messages = told(Collapses(head=False), SpaceHealth(), max_epochs=6)
    assert len(messages) == 1
    assert "mean cosine of 16 objects is 1.0000" in messages[0] and "before training" in messages[0]
    assert "MultipleNegativesRankingLoss" in messages[0] and "simlearn.examine" in messages[0]


def test_patience_waits_but_not_beyond_the_end() -> None:
    health = SpaceHealth(patience=50)
    assert len(told(Collapses(head=False), health)) == 1


def test_who_comes_out_again_is_not_told_of() -> None:
    class Passes(Collapses):
        def on_train_batch_end(self, *args: Any) -> None:
            if self.current_epoch == 1:
                self.saved = weights(self) if not hasattr(self, "saved") else self.saved
                super().on_train_batch_end()
            elif hasattr(self, "saved"):
                with torch.no_grad():
                    for name, parameter in self.named_parameters():
                        parameter.copy_(self.saved[name])

    assert told(Passes(head=False), SpaceHealth(patience=2, min_steps=1), max_epochs=4) == []


def test_of_distances_the_mean_distance_tells() -> None:
    class Shrinks(SmallModel):
        def on_train_batch_end(self, *args: Any) -> None:
            with torch.no_grad():
                self.model.encoders["default"].linear.weight.mul_(0.1)

    loader = GroupSimilarityDataLoader(groups(), batch_size=16, samples_per_group=4)
    model = Shrinks(TripletLoss(distance_metric_name=Distance.EUCLIDEAN, mining="all"), head=False)
    messages = told(model, SpaceHealth(), loader)
    assert len(messages) == 1 and "mean distance" in messages[0]


def test_nan_is_told_as_divergence() -> None:
    class Later(SpaceHealth):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            with torch.no_grad():
                pl_module.model.encoders["default"].linear.weight.fill_(torch.nan)
            super().on_train_epoch_end(trainer, pl_module)

    messages = told(SmallModel(), Later(), max_epochs=1)
    assert len(messages) == 1 and "16 of 16 embeddings are NaN" in messages[0]


@pytest.mark.parametrize("cached", [False, True])
def test_training_is_the_same_with_it_and_without(cached: bool) -> None:
    options: dict[str, Any] = {"frozen": cached, "cache": CacheConfig() if cached else None, "dropout": 0.3}
    trained = []
    for callbacks in ([], [SpaceHealth(every_n_steps=2)]):
        model = SmallModel(**options)
        torch.manual_seed(1)
        fit(model, small_pairs(), trainer=quiet_trainer(callbacks=callbacks))
        trained.append(weights(model))
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_steps_may_be_counted() -> None:
    looks = []

    class Counts(SpaceHealth):
        def _look(self, *args: Any) -> Any:
            looks.append(1)
            return super()._look(*args)

    told(SmallModel(), Counts(every_n_steps=2))
    assert len(looks) == 1 + 2 * 2  # before training; in each of two epochs after steps 2 and 4, the last
    looks.clear()
    told(SmallModel(), Counts(), max_epochs=40)
    assert len(looks) == 1 + 1 + 3  # before training, after the first 4 steps, 52 steps later twice, and at the end


def test_many_small_groups_are_sampled_evenly() -> None:
    health = SpaceHealth(sample=8)
    loader = GroupSimilarityDataLoader(groups(), batch_size=32)
    told(SmallModel(TripletLoss(mining="all")), health, loader)
    assert health.last is not None and health.last.count == 8


def test_it_is_part_of_the_defaults() -> None:
    assert any(isinstance(callback, SpaceHealth) for callback in trainer_defaults()["callbacks"])


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="sample must be at least 3"):
        SpaceHealth(sample=2)
    with pytest.raises(ValueError, match="at least 1"):
        SpaceHealth(every_n_steps=0)


def test_two_processes_log_what_one_does(tmp_path: Any) -> None:
    found = []
    for processes in (1, 2):
        loader = PairsSimilarityDataLoader(pairs(), batch_size=16 // processes, shuffle=False)
        health = SpaceHealth(sample=16)
        record = Record(tmp_path / f"{processes}")
        trainer = quiet_trainer(
            callbacks=[health, record],
            devices=processes,
            strategy="ddp_fork" if processes > 1 else "auto",
            precision="64-true",
        )
        fit(SmallModel().double(), loader, trainer=trainer)
        found.append([torch.load(path) for path in sorted(tmp_path.glob(f"{processes}-*"))])
    (alone,), (first, second) = found
    assert first == second
    for name, value in alone.items():
        assert first[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


class Record(pl.Callback):
    def __init__(self, path: Any) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        figures = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("health_")}
        torch.save(figures, f"{self.path}-{trainer.global_rank}")
