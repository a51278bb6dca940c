"""Train product search.

    python examples/product_search/train.py [model=two_tower] [loss=triplet] [run=FOLDER] [KEY=VALUE ...]

`run=` names the folder of the run. One that is there goes on after its last finished epoch; `init_from=` starts a new
run with the best weights of another one. See README.rst.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from callbacks import Checkpoint, EpochFigures, RandomStates
from data import figures, loader, search
from models import MODELS, ProductSearch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import TensorBoardLogger
from runs import Run, errors_told
from settings import Config, register, typed

import simlearn
from simlearn import PairsSimilarityDataLoader


def train(config: Config, default: Config) -> Run:
    """Train, or go on training, and leave the best model as a servable in the run's folder."""
    pl.seed_everything(config.seed, verbose=False)
    if config.monitor not in figures(config.evaluation):
        raise ValueError(f"monitor={config.monitor} is not measured, only {', '.join(figures(config.evaluation))}")
    run = Run(config.run)
    run.check(config)
    done = run.done
    if done >= config.num_epochs and run.servable.exists():
        raise ValueError(f"{run.folder} has {done} epochs already; num_epochs={done + 1} or more goes on")
    model = MODELS[config.model.kind](config, search(config) if config.evaluation.enabled else None)
    clicks, validation = loader(config, "training_dataset"), loader(config, "validation_dataset")
    if config.init_from is not None and not done:
        load_weights(model, Run(config.init_from).best)
    run.begin(config, default)
    print(f"{run.folder}: {f'goes on after epoch {done}' if done else 'a new run'}", flush=True)
    if done < config.num_epochs:
        resumed = str(run.last) if done else None
        simlearn.fit(model, clicks, validation, trainer=trainer_of(config, run, clicks), ckpt_path=resumed)
    load_weights(model, run.best)
    best = (min if mode_of(config) == "min" else max)(run.epochs(), key=lambda epoch: epoch[config.monitor])
    model.save_servable(str(run.servable), scores={name: value for name, value in best.items() if name != "epoch"})
    print(f"{run.servable}: of epoch {int(best['epoch']) + 1}, {config.monitor} {best[config.monitor]:.3f}")
    return run


def trainer_of(config: Config, run: Run, clicks: PairsSimilarityDataLoader) -> pl.Trainer:
    """A trainer that keeps the best and the last checkpoint, and stops when nothing gets better."""
    rule: dict[str, Any] = {"monitor": config.monitor, "mode": mode_of(config)}
    kept: dict[str, Any] = {
        "dirpath": run.checkpoints,
        "save_on_train_epoch_end": True,
        "enable_version_counter": False,
    }
    logger = TensorBoardLogger(str(run.folder), name="", version="tensorboard")
    return pl.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=config.num_epochs,
        logger=logger,
        callbacks=[
            EpochFigures(run, config, logger),
            RandomStates(),
            EarlyStopping(**rule, patience=config.patience, check_on_train_epoch_end=True),
            Checkpoint(filename="best", **rule, **kept),
            Checkpoint(filename="last", **kept),
        ],
        log_every_n_steps=min(50, len(clicks)),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def mode_of(config: Config) -> str:
    """Whether the figure that training goes by should fall or rise."""
    return "min" if "loss" in config.monitor else "max"


def load_weights(model: ProductSearch, checkpoint: Path) -> None:
    """Take the weights of a checkpoint, nothing else.

    Raises:
        ValueError: where there is none, or it is of another model.
    """
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint} is missing; name the folder of a run that has finished an epoch")
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{checkpoint} is of another model than model=, vectorizer= and data= make: {error}") from None


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Train as the command line says."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*|.*exists and is not empty.*")
    with errors_told():
        train(typed(config), typed(hydra.compose("config")))


register()

if __name__ == "__main__":
    main()
