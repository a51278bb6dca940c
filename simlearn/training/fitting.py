"""Train a model on data: the one entry point."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from simlearn.data import SimilarityDataLoader
from simlearn.training.arguments import check_arguments, check_trainer
from simlearn.training.callbacks import BestWeights, FitProgressBar, mode_of
from simlearn.training.space_health import SpaceHealth
from simlearn.training.trainable import Trainable

_EPOCHS_WITHOUT_VALIDATION = 10
_MOST_EPOCHS = 100
_PATIENCE = 3
_EXPECTED_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's own use of torch
    r".*module\(s\) in eval mode at the start of training.*",  # frozen encoders: that is what frozen means
    r".*Total length of `list` across ranks is zero.*",  # no validation data
    r".*sync_dist=True.*",  # what is logged at the end of an epoch has been added up over the processes already
)


def trainer_defaults(
    trainable_model: Trainable | None = None,
    train_dataloader: SimilarityDataLoader | None = None,
    val_dataloader: SimilarityDataLoader | None = None,
    monitor: str | None = None,
) -> dict[str, Any]:
    """The arguments of the Trainer that `fit` makes, to change and build your own.

    ```python
    arguments = simlearn.trainer_defaults(val_dataloader=val)
    arguments["min_epochs"] = 10
    arguments["callbacks"].append(MyCallback())
    simlearn.fit(model, train, val, trainer=pl.Trainer(**arguments))
    ```

    Args:
        trainable_model: not needed yet.
        train_dataloader: sets how often is logged.
        val_dataloader: with it training ends when `validation_loss` has not fallen for 3 epochs, or after 100;
            without it, and without `monitor`, after 10.
        monitor: the figure that training goes by, in place of `validation_loss`.

    Returns:
        Keyword arguments of `pytorch_lightning.Trainer`; `callbacks` is a list.
    """
    callbacks: list[pl.Callback] = [FitProgressBar(), SpaceHealth()]
    monitor = "validation_loss" if monitor is None and val_dataloader is not None else monitor
    if monitor is not None:
        callbacks.append(EarlyStopping(monitor, patience=_PATIENCE, mode=mode_of(monitor)))
    arguments: dict[str, Any] = {
        "callbacks": callbacks,
        "accelerator": "auto",
        "devices": 1,
        "max_epochs": _EPOCHS_WITHOUT_VALIDATION if monitor is None else _MOST_EPOCHS,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    if train_dataloader is not None and not train_dataloader.is_stream:
        arguments["log_every_n_steps"] = max(1, min(50, len(train_dataloader)))
    return arguments


def fit(
    trainable_model: Trainable,
    train_dataloader: SimilarityDataLoader | None = None,
    val_dataloader: SimilarityDataLoader | None = None,
    *,
    trainer: pl.Trainer | None = None,
    ckpt_path: str | None = None,
    monitor: str | None = None,
) -> None:
    """Train a model.

    Without a trainer, one is made from `trainer_defaults`: with validation data it stops when the validation loss no
    longer falls and puts the best weights back; without, it trains 10 epochs. With a trainer of yours, that one
    decides; callbacks added to it for the time of the fit are removed again.

    Args:
        trainable_model: the model; its weights change, nothing else does.
        train_dataloader: the training data.
        val_dataloader: the validation data.
        trainer: a Lightning Trainer on a single device or with a DDP strategy.
        ckpt_path: a checkpoint to resume from, also from the middle of an epoch.
        monitor: the figure by which training stops and the best weights are chosen, such as `"search_ndcg@10"` of an
            evaluator or `"rp@1_validation"` of an attached metric; None for `validation_loss`. A loss and an error
            rate are better low, all else high. Only without a trainer of yours.

    Raises:
        TypeError: for arguments of the wrong kind, and samples of a kind that the loss does not take.
        ValueError: when there is nothing to train, or the data cannot teach it; and for a Trainer that has finished.
        NotImplementedError: for strategies that simlearn was never tested with.
    """
    if monitor is not None and trainer is not None:
        raise ValueError(
            "monitor= is for the trainer that fit makes; give yours ModelCheckpoint, EarlyStopping or "
            f"BestWeights(monitor={monitor!r})"
        )
    train, validation = check_arguments(trainable_model, train_dataloader, val_dataloader, trainer)
    with _quiet(trainer is None):
        if trainer is None:
            arguments = trainer_defaults(trainable_model, train, validation, monitor)
            if monitor is not None or validation is not None:
                arguments["callbacks"].append(BestWeights(monitor or "validation_loss"))
            else:
                print(f"No validation data: training for {_EPOCHS_WITHOUT_VALIDATION} epochs.")
            trainer = pl.Trainer(**arguments)
        check_trainer(trainer)
        trainable_model.check(train, validation, trainer.world_size)
        callbacks = list(trainer.callbacks)  # type: ignore[attr-defined]
        trainer.callbacks.append(_Together())  # type: ignore[attr-defined]
        trainable_model.use_loaders(train, validation)
        try:
            trainer.fit(trainable_model, ckpt_path=ckpt_path)
        finally:
            trainable_model.use_loaders(None, None)
            trainer.callbacks[:] = callbacks  # type: ignore[attr-defined]
    _write_card(trainable_model, train, validation, trainer)


class _Together(pl.Callback):
    """Tells a model when all processes are there: not by its own hooks, which users define without calling ours."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Before a checkpoint is loaded and DDP begins."""
        if isinstance(pl_module, Trainable):
            pl_module.start_together()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """While all processes are still there."""
        if isinstance(pl_module, Trainable):
            pl_module.finish_together()


def _write_card(
    model: Trainable, train: SimilarityDataLoader, validation: SimilarityDataLoader | None, trainer: pl.Trainer
) -> None:
    card = model.model.card
    card.data = {"training": repr(train)}
    if validation is not None:
        card.data["validation"] = repr(validation)
    card.training = {
        **model.facts(),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
    }
    best = next((callback for callback in trainer.callbacks if isinstance(callback, BestWeights)), None)  # type: ignore[attr-defined]
    figures = trainer.callback_metrics
    if "train_loss" in figures:
        card.scores["train_loss"] = float(figures["train_loss"])
    if best is not None and best.best is not None:
        card.scores[best.monitor] = best.best
    elif "validation_loss" in figures:
        card.scores["validation_loss"] = float(figures["validation_loss"])


@contextmanager
def _quiet(own: bool) -> Iterator[None]:
    """Keep Lightning's notices away from a trainer the user never saw; warnings of a user's own trainer stay."""
    loggers = [
        logging.getLogger(name)
        for name in ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for expected in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=expected)
        if own:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
