"""Models that train beside a negative cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytorch_lightning as pl
from small_models import SmallModel, pairs

from simlearn import NegativeCacheConfig, PairsSimilarityDataLoader
from simlearn.losses import SimilarityLoss
from simlearn.negatives.negative_cache.memory import NegativeCacheMemory

Configs: TypeAlias = NegativeCacheConfig | Mapping[str, NegativeCacheConfig]


class Cached(SmallModel):
    def __init__(
        self,
        config: NegativeCacheConfig | Mapping[str, NegativeCacheConfig],
        loss: SimilarityLoss | None = None,
        **options: Any,
    ) -> None:
        self.cached = config
        super().__init__(loss, **options)

    def configure_negative_cache(self) -> Configs:
        return self.cached

    @property
    def memory(self) -> NegativeCacheMemory:
        memory = self.memories["negative_cache"]
        if not isinstance(memory, NegativeCacheMemory):
            raise TypeError
        return memory


def loader_of(count: int = 64, batch_size: int = 8, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(pairs(count), batch_size, **options)


class SaveAt(pl.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trainer_of(processes: int, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp_fork" if processes > 1 else "auto",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "precision": "64-true",
    }
    return pl.Trainer(**settings | options)


def documents_of(model: Cached) -> dict[int, list[float]]:
    """What is kept, by id."""
    return {
        int(name): row
        for part in model.memory._documents
        for name, row in zip(part.cache.ids[: len(part)], part.cache.embeddings.double().tolist(), strict=False)
    }


# What is drawn by chance alone depends on how documents are dealt; of the best few it does not.
AS_ONE: dict[str, dict[str, Any]] = {
    "replicated": {"size": 40, "samples": 2, "refresh": 3, "distributed": "replicated"},
    "the best few": {"size": 128, "top_k": 10, "samples": 2},
    "the best": {"size": 128, "sampler": "highest", "in_batch": False},
    "written without dropout": {"size": 128, "top_k": 5, "write": "eval", "eviction": "fifo"},
    "steeper": {"size": 128, "top_k": 5, "inv_temp": 2.0},
}
