"""What `fit` refuses before anything starts: an error in the first second instead of the third hour."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn

from simlearn.data import SimilarityDataLoader
from simlearn.scoring import DistanceScorer
from simlearn.towers.chunks import check_chunkable, check_countable
from simlearn.training.trainable_model import TrainableModel


def check_arguments(
    model: Any, train: Any, validation: Any, trainer: Any
) -> tuple[SimilarityDataLoader, SimilarityDataLoader | None]:
    """The loaders, once every argument of `fit` is of the right kind; raises TypeError otherwise."""
    if not isinstance(model, TrainableModel):
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


def check_trainable(model: TrainableModel, train: SimilarityDataLoader, world_size: int) -> None:
    """Refuse a model that cannot learn from these samples.

    Raises:
        TypeError: for samples of one kind of objects where the model has two towers.
        ValueError: when nothing is trainable, the towers do not compare, or the data does not fill a batch.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(
            "nothing is trainable: all encoders are frozen and neither head nor loss has parameters; configure a head "
            "such as SkipConnectionHead, or pass trainable=True to an encoder"
        )
    towers = model.model
    _check_chunks(model)
    if not towers.is_symmetric and train.kind.shared:
        raise TypeError(
            f"{type(train).__name__} gives objects of one kind, the model has a tower for queries and one for "
            "documents; give pairs or rankings"
        )
    sizes = {role: towers.tower(role).embedding_size for role in towers.plan.roles}
    if isinstance(towers.scorer, DistanceScorer) and len(set(sizes.values())) > 1:
        raise ValueError(
            f"query and document embeddings have different sizes, {sizes}, and {type(towers.scorer).__name__} compares "
            "equal ones; give both heads the same output size"
        )
    if not train.is_stream and train.bind(list, training=True, world_size=world_size).batch_count == 0:
        raise ValueError(
            f"the training data does not fill one batch: {train!r} on {world_size} process(es), and incomplete batches "
            "are dropped in training; make batch_size smaller, or pass drop_last=False"
        )


def _check_chunks(model: TrainableModel) -> None:
    towers = model.model
    limits = {name: getattr(model, name) for name in ("encode_chunk_size", "encode_chunk_tokens")}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if len(given) > 1:
        raise ValueError(
            "encode_chunk_size cuts chunks by objects, encode_chunk_tokens by tokens; give only one of them"
        )
    for name, limit in given.items():
        if limit < 1:
            raise ValueError(f"{name} must be at least 1, got {limit}")
        check_chunkable(towers.plan, dict(towers.heads.items()))
    if model.encode_chunk_tokens is not None:
        check_countable(towers.plan)
