"""A run that was interrupted in the middle of an epoch ends like one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, groups, pairs, weights
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    GroupSimilarityDataLoader,
    LoadError,
    PairsSimilarityDataLoader,
    TripletLoss,
    XbmConfig,
    fit,
)


class Stream(IterableDataset[Any]):
    def __init__(self) -> None:
        self.samples = pairs(64)

    def __iter__(self) -> Any:
        return iter(self.samples)


class SaveAt(pl.Callback):
    """Saves a checkpoint after a number of steps."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and not self.path.exists():  # accumulating, a step spans several batches
            trainer.save_checkpoint(self.path)


def make_trainer(*callbacks: pl.Callback, epochs: int = 3, **options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )


def loader_of(kind: str, workers: int = 0) -> Any:
    if kind == "stream":
        return PairsSimilarityDataLoader(Stream(), batch_size=8, num_workers=workers)
    if kind == "groups":
        return GroupSimilarityDataLoader(groups(64), batch_size=8, samples_per_group=4)
    return PairsSimilarityDataLoader(pairs(64), batch_size=8, num_workers=workers)


def model_of(kind: str, cached: bool, **options: Any) -> SmallModel:
    loss = TripletLoss() if kind == "groups" else None
    return SmallModel(loss, frozen=cached, cache=CacheConfig() if cached else None, **options)


@pytest.mark.parametrize("step", [3, 8, 11, 15, 16])
@pytest.mark.parametrize(
    ("kind", "cached", "workers"),
    [("pairs", False, 0), ("pairs", True, 0), ("groups", False, 0), ("stream", False, 0), ("stream", False, 2)],
)
def test_resume_equals_an_uninterrupted_run(kind: str, cached: bool, workers: int, step: int, tmp_path: Path) -> None:
    if workers and step not in (11, 16):
        pytest.skip("workers are slow to start; two points are enough")
    checkpoint = tmp_path / "middle.ckpt"
    whole = model_of(kind, cached)
    fit(whole, loader_of(kind, workers), trainer=make_trainer(SaveAt(step, checkpoint)))
    resumed = model_of(kind, cached)
    fit(resumed, loader_of(kind, workers), trainer=make_trainer(), ckpt_path=str(checkpoint))
    for name, expected in weights(whole).items():
        assert torch.equal(weights(resumed)[name], expected), name


@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_the_memory_of_earlier_batches_is_resumed_too(kind: str, tmp_path: Path) -> None:
    def model() -> SmallModel:
        return model_of(kind, False, xbm=XbmConfig(0.5, buffer_size=20, start_iteration=2))

    checkpoint = tmp_path / "middle.ckpt"
    whole, resumed, without = model(), model(), model_of(kind, False)
    fit(whole, loader_of(kind), trainer=make_trainer(SaveAt(11, checkpoint)))
    fit(resumed, loader_of(kind), trainer=make_trainer(), ckpt_path=str(checkpoint))
    fit(without, loader_of(kind), trainer=make_trainer(SaveAt(11, tmp_path / "without.ckpt")))
    for name, expected in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], expected), name
    assert any(not torch.equal(without.model.state_dict()[name], one) for name, one in whole.model.state_dict().items())
    late = model()  # switched on in the middle, the memory starts empty
    fit(late, loader_of(kind), trainer=make_trainer(), ckpt_path=str(tmp_path / "without.ckpt"))
    assert late.memories and len(late.memories["xbm"]) == 20


def test_resume_with_validation_and_accumulated_gradients(tmp_path: Path) -> None:
    checkpoint = tmp_path / "middle.ckpt"
    validation = PairsSimilarityDataLoader(pairs(20, seed=9), batch_size=8)
    whole, resumed = model_of("pairs", False), model_of("pairs", False)
    options = {"accumulate_grad_batches": 2}
    fit(whole, loader_of("pairs"), validation, trainer=make_trainer(SaveAt(5, checkpoint), **options))
    fit(resumed, loader_of("pairs"), validation, trainer=make_trainer(**options), ckpt_path=str(checkpoint))
    for name, expected in weights(whole).items():
        assert torch.equal(weights(resumed)[name], expected), name


def test_checkpoint_holds_no_frozen_weights_and_refuses_another_encoder(tmp_path: Path) -> None:
    path = tmp_path / "small.ckpt"
    fit(model_of("pairs", True), loader_of("pairs"), trainer=make_trainer(SaveAt(3, path)))
    state = torch.load(path, weights_only=True)["state_dict"]
    assert state
    assert not any(name.startswith("model.encoders.") for name in state)
    with pytest.raises(LoadError, match="another frozen encoder 'default'"):
        fit(model_of("pairs", True, seed=7), loader_of("pairs"), trainer=make_trainer(), ckpt_path=str(path))


def test_loading_a_checkpoint_stays_strict(tmp_path: Path) -> None:
    path = tmp_path / "broken.ckpt"
    fit(model_of("pairs", True), loader_of("pairs"), trainer=make_trainer(SaveAt(3, path)))
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["state_dict"][next(iter(checkpoint["state_dict"]))]
    torch.save(checkpoint, path)
    with pytest.raises(RuntimeError, match="Missing key"):
        fit(model_of("pairs", True), loader_of("pairs"), trainer=make_trainer(), ckpt_path=str(path))
