"""What `fit` refuses before anything starts: an error in the first second instead of the third hour."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn

from simlearn.data import SimilarityDataLoader
from simlearn.training.trainable import Trainable


def check_arguments(
    model: Any, train: Any, validation: Any, trainer: Any
) -> tuple[SimilarityDataLoader, SimilarityDataLoader | None]:
    """The loaders, once every argument of `fit` is of the right kind; raises TypeError otherwise."""
    if not isinstance(model, Trainable):
        raise TypeError(f"fit trains a TrainableModel, got a {type(model).__name__}; subclass simlearn.TrainableModel")
    for name, loader in (("train_dataloader", train), ("val_dataloader", validation)):
        if isinstance(loader, pl.Trainer):
            raise TypeError(
                f"{name} got a Trainer; pass it by keyword: simlearn.fit(model, train_dataloader=..., trainer=...)"
            )
        if loader is not None and not isinstance(loader, SimilarityDataLoader):
            raise TypeError(
                f"{name} must be a SimilarityDataLoader, got a {type(loader).__name__}; wrap your data, for instance "
                "in PairsSimilarityDataLoader(data, batch_size=...)"
            )
    if train is None:
        raise TypeError("fit needs train_dataloader=")
    if trainer is not None and not isinstance(trainer, pl.Trainer):
        raise TypeError(
            f"trainer must be a pytorch_lightning.Trainer, got a {type(trainer).__module__}.{type(trainer).__name__}; "
            "simlearn uses the package pytorch_lightning, whose classes are not those of the package lightning"
        )
    return train, validation


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse a strategy that simlearn was never tested with, and a trainer that would not train a step.

    Raises:
        NotImplementedError: for the strategy.
        ValueError: for a trainer that has finished.
    """
    if type(trainer.strategy) not in (SingleDeviceStrategy, DDPStrategy):
        raise NotImplementedError(
            f"simlearn trains on a single device or with DDP, not yet with {type(trainer.strategy).__name__}; take "
            "Trainer(strategy='ddp') or strategy='auto'"
        )
    fitted = trainer.state.fn is TrainerFn.FITTING and trainer.state.finished
    limit = trainer.max_epochs
    if fitted and (trainer.should_stop or (limit is not None and 0 <= limit <= trainer.current_epoch)):
        raise ValueError(
            f"this Trainer has finished (max_epochs={limit}, {trainer.current_epoch} done) and would not train a step; "
            "make a new one, or raise trainer.fit_loop.max_epochs"
        )
