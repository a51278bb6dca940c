"""What `fit` adds to a trainer: one progress bar, and the best weights kept in memory."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ProgressBar
from torch import Tensor

from simlearn.progress import Bar


class FitProgressBar(ProgressBar):
    """One line for a whole training: the epoch, its batches, and what is logged with `prog_bar=True`.

    Args:
        refresh_rate: batches between two refreshes; 0 shows nothing.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__()
        self.refresh_rate = refresh_rate
        self._enabled = refresh_rate > 0
        self._bar: Bar | None = None

    def disable(self) -> None:
        """Show nothing; Lightning calls it on all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = self.refresh_rate > 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar."""
        if self._enabled:
            self._bar = Bar(desc="Training", unit="batch", file=sys.stderr, dynamic_ncols=True)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's count."""
        if self._bar is not None:
            last = f"/{trainer.max_epochs}" if trainer.max_epochs is not None and trainer.max_epochs > 0 else ""
            self._bar.set_description(f"Epoch {trainer.current_epoch + 1}{last}", refresh=False)
            total = self.total_train_batches
            self._bar.reset(total=None if total == float("inf") else int(total))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Count a batch."""
        if self._bar is None:
            return
        done = int(args[-1]) + 1
        if done % self.refresh_rate == 0 or done == self.total_train_batches:
            self._bar.n = done
            self._show(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the validation loss."""
        if self._bar is not None and not trainer.sanity_checking:
            self._show(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the figures of the epoch."""
        if self._bar is not None:
            self._show(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the last line standing."""
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error starts on a line of its own."""
        self._close()

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bar is not None:
            figures = {key: value for key, value in self.get_metrics(trainer, pl_module).items() if key != "v_num"}
            self._bar.set_postfix({key: f"{value:.4g}" for key, value in figures.items() if isinstance(value, float)})

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class BestWeights(Callback):
    """Keeps the trained weights of the epoch with the best value of a metric, and puts them back when training ends.

    Args:
        monitor: the metric: anything that is logged once an epoch.
        mode: `"min"` or `"max"`; None: by the name, where a loss and an error rate are better low.

    Raises:
        ValueError: for another mode.
    """

    def __init__(self, monitor: str = "validation_loss", mode: str | None = None) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f"mode must be 'min', 'max' or None, got {mode!r}")
        self.monitor = monitor
        self.mode = mode if mode is not None else mode_of(monitor)
        self.best: float | None = None
        self.epoch: int | None = None
        self._weights: dict[str, Tensor] = {}
        self._validated = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep a copy when the metric is better than ever."""
        if not trainer.sanity_checking:
            self._validated = True
            self._keep_if_best(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where nothing is validated, look at what the epoch before has logged in the end."""
        if not self._validated and trainer.current_epoch > 0:
            self._keep_if_best(trainer, pl_module, trainer.current_epoch - 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the best weights back."""
        if not self._validated:
            self._keep_if_best(trainer, pl_module, trainer.current_epoch - 1)
        if self.best is None and self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"{self.monitor!r} was never logged, so no weights are the best; logged are "
                f"{', '.join(sorted(trainer.callback_metrics)) or 'no figures'}"
            )
        with torch.no_grad():
            for name, tensor in _trained(pl_module).items():
                if name in self._weights:
                    tensor.copy_(self._weights[name])
        self._weights = {}

    def _keep_if_best(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or not torch.isfinite(value):
            return
        new = float(value)
        if self.best is None or (new < self.best if self.mode == "min" else new > self.best):
            self.best, self.epoch = new, epoch
            self._weights = {name: tensor.detach().clone() for name, tensor in _trained(module).items()}


def mode_of(monitor: str) -> str:
    """Whether a metric is better low, `"min"`, or high, `"max"`, by its name."""
    return "min" if "loss" in monitor or monitor.endswith("equal_error_rate") else "max"


def _trained(module: pl.LightningModule) -> dict[str, Tensor]:
    """What training changes: parameters with gradients, and buffers (batch statistics)."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {**trained, **dict(module.named_buffers())}
