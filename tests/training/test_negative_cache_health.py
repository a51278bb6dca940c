"""How old the documents of a negative cache are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from cached_models import Cached, loader_of, trainer_of
from pytorch_lightning.loggers import CSVLogger
from small_models import SmallModel, quiet_trainer

from simlearn import NegativeCacheConfig, NegativeCacheHealth, fit


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def counted(row: dict[str, str]) -> int:
    return sum(int(count) for name, count in row.items() if name not in ("epoch", "step"))


def test_a_row_an_epoch(tmp_path: Path) -> None:
    model = Cached(NegativeCacheConfig(64, start_filled=1.0))
    fit(model, loader_of(), trainer=quiet_trainer(callbacks=[NegativeCacheHealth()], default_root_dir=str(tmp_path)))
    first, second = rows_of(tmp_path / "negative_cache_ages.csv")
    # Eight batches of eight, each document once an epoch.
    told = {name: int(count) for name, count in first.items() if int(count)}
    assert told == {"epoch": 1, "step": 8, "0": 8, "1": 8, "2-3": 16, "4-7": 32}
    assert (
        second["epoch"] == "2" and sum(int(one) for name, one in second.items() if name not in ("epoch", "step")) == 64
    )


def test_of_all_processes_and_to_loggers_that_take_histograms(tmp_path: Path) -> None:
    seen = []

    class Logger(CSVLogger):
        @property
        def experiment(self) -> Any:
            writer = super().experiment
            writer.add_histogram = lambda *given: seen.append(given)
            return writer

    health = NegativeCacheHealth(every_n_epochs=2)
    trainer = quiet_trainer(callbacks=[health], logger=Logger(str(tmp_path)), max_epochs=3)
    fit(Cached(NegativeCacheConfig(64)), loader_of(), trainer=trainer)
    [(name, ages, step)] = seen
    assert name == "train_cache_age" and len(ages) == 64 and step == 16
    assert len(rows_of(Path(str(trainer.log_dir)) / "negative_cache_ages.csv")) == 1
    sharded = trainer_of(2, precision=32, callbacks=[NegativeCacheHealth()], default_root_dir=str(tmp_path))
    fit(Cached(NegativeCacheConfig(64, start_filled=1.0)), loader_of(batch_size=4), trainer=sharded)
    told = rows_of(tmp_path / "negative_cache_ages.csv")[0]
    assert counted(told) > 48


def test_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        NegativeCacheHealth(0)
    with pytest.raises(TypeError, match="SmallModel has none; define configure_negative_cache"):
        fit(SmallModel(), loader_of(), trainer=quiet_trainer(callbacks=[NegativeCacheHealth()]))


def test_places_of_ages() -> None:
    memory = Cached(NegativeCacheConfig(8)).memory
    cache = memory._documents[0].cache
    cache.insert(torch.zeros(8, 8), torch.arange(8))
    cache.state[2] = 10_000_000
    cache.written.copy_(10_000_000 - torch.tensor([0, 1, 2, 3, 4, 7, 8, 9_000_000]))
    counts = memory.age_counts().tolist()
    assert counts[:5] == [1, 1, 2, 2, 1] and counts[-1] == 1 and sum(counts) == 8
