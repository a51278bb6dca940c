"""How old the documents of a negative cache are, epoch by epoch."""

from __future__ import annotations

import csv
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from simlearn.negatives.negative_cache.memory import NegativeCacheMemory
from simlearn.training.trainable_model import TrainableModel

_FILE = "negative_cache_ages.csv"


class NegativeCacheHealth(Callback):
    """Writes a histogram of the ages of a negative cache's documents.

    An age is how many steps ago a document was encoded. A cache whose documents are much older than the weights move
    slowly over is too large for its training: see `train_cache_staleness`, and `refresh` and `samples` of
    `NegativeCacheConfig`.

    After each epoch a row goes into `negative_cache_ages.csv` in the run's folder, the logger's or the trainer's
    `default_root_dir`: the epoch, the step, and how many documents are of age 0, 1, 2 to 3, 4 to 7 and so on, of all
    processes and caches. A logger that takes histograms, such as TensorBoard's, gets one too.

    ```python
    trainer = pl.Trainer(callbacks=[NegativeCacheHealth()])
    ```

    Args:
        every_n_epochs: how many epochs between two rows.

    Raises:
        ValueError: for a number below 1.
        TypeError: when training starts, with a model without a negative cache.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs must be at least 1, got {every_n_epochs}")
        self.every_n_epochs = every_n_epochs

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a model without a cache."""
        _memory(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, where it is time."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        memory = _memory(pl_module)
        counts = memory.age_counts()  # asked by all processes
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        if trainer.is_global_zero:
            _write(folder / _FILE, trainer.current_epoch + 1, trainer.global_step, counts)
            for logger in trainer.loggers:
                add = getattr(getattr(logger, "experiment", None), "add_histogram", None)
                if add is not None:
                    add("train_cache_age", memory.ages(), trainer.global_step)


def _memory(module: pl.LightningModule) -> NegativeCacheMemory:
    memories = module.memories.values() if isinstance(module, TrainableModel) else []
    found = next((memory for memory in memories if isinstance(memory, NegativeCacheMemory)), None)
    if found is None:
        raise TypeError(
            f"NegativeCacheHealth looks at a negative cache, and {type(module).__name__} has none; define "
            "configure_negative_cache, or leave the callback out"
        )
    return found


def _write(path: Path, epoch: int, step: int, counts: Tensor) -> None:
    """Add a row, or begin the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            lowest = [2**n for n in range(1, len(counts) - 1)]
            spans = [f"{low}-{2 * low - 1}" for low in lowest[:-1]]
            writer.writerow(["epoch", "step", "0", "1", *spans, f"{lowest[-1]}-"])
        writer.writerow([epoch, step, *counts.tolist()])
