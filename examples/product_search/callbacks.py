"""What happens after each epoch: figures are written, and everything that training goes on from."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from data import metrics
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from runs import Run
from settings import Config


class EpochFigures(pl.Callback):
    """Writes `metrics.json` and the mean training loss after each epoch, and puts both losses into one chart."""

    def __init__(self, run: Run, config: Config, logger: TensorBoardLogger) -> None:
        self.run, self.config, self.logger = run, config, logger
        self._losses: list[torch.Tensor] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lay the charts out."""
        charts = {"loss": ["Multiline", ["loss/train", "loss/validation"]]}
        for name in metrics(self.config.evaluation):
            charts[name] = ["Multiline", [f"search_{name}$", f"search_{name}/.*"]]
        self.logger.experiment.add_custom_scalars({"product search": charts})

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any) -> None:
        """Keep the loss."""
        self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name != "train_loss"}
        figures |= {"epoch": trainer.current_epoch, "train_loss": float(torch.stack(self._losses).mean())}
        self._losses.clear()
        epochs = [*self.run.epochs()[: trainer.current_epoch], figures]
        self.run.metrics.write_text(json.dumps(epochs, indent=1) + "\n")
        losses = {f"loss/{part}": figures[f"{part}_loss"] for part in ("train", "validation")}
        self.logger.log_metrics(losses, step=trainer.global_step)
        shown = {name: figures[name] for name in ("train_loss", "validation_loss", self.config.monitor)}
        told = ", ".join(f"{name} {value:.3f}" for name, value in shown.items())
        print(f"epoch {trainer.current_epoch + 1}: {told}", flush=True)


class Checkpoint(ModelCheckpoint):
    """A checkpoint of one name, whose best figure is known where the run's folder was moved, too."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The state, of files that are here now."""
        here = str(Path(str(self.dirpath)) / f"{self.filename}.ckpt")
        paths = {name: here for name in state_dict if name.endswith("_path") and state_dict[name]}
        best = {here: state_dict["best_model_score"]} if state_dict["best_k_models"] else {}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})


class RandomStates(pl.Callback):
    """Leaves the global random states in checkpoints, so that a run goes on as if it had not stopped."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The states of the moment."""
        numpy: Any = np.random.get_state()  # noqa: NPY002
        plain = (numpy[0], numpy[1].tolist(), *numpy[2:])  # which torch.load takes with weights_only
        return {"torch": torch.get_rng_state(), "python": random.getstate(), "numpy": plain}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep them until training starts: making a model and its data draws, too."""
        self._loaded = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put them back."""
        if self._loaded is not None:
            torch.set_rng_state(self._loaded["torch"].cpu())
            random.setstate(self._loaded["python"])
            np.random.set_state(self._loaded["numpy"])  # noqa: NPY002
            self._loaded = None
