from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, numbers, pairs, quiet_trainer, weights

from simlearn import CacheConfig, MultipleNegativesRankingLoss, RankingSimilarityDataLoader, fit
from simlearn.cache import CacheType
from simlearn.negatives import HardNegatives
from simlearn.training import RefreshNegatives


class Seen(pl.Callback):
    """The negatives of each epoch, and what the batches of the last one held."""

    def __init__(self, negatives: HardNegatives, path: Path | None = None) -> None:
        self.negatives = negatives
        self.path = path
        self.rows: list[list[list[int]]] = []
        self.ids: list[set[int]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.rows.append(self.negatives.rows.tolist())
        self.ids.append(set())

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.ids[-1].update(batch.relation.document_ids.tolist())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.path is not None:
            Path(f"{self.path}-{trainer.world_size}-{trainer.global_rank}.json").write_text(json.dumps(self.rows))


def negatives_of(**options: Any) -> HardNegatives:
    return HardNegatives(pairs(24), numbers(9, 30), **{"num_negatives": 2, "seed": 1, **options})


def train(
    negatives: HardNegatives,
    model: SmallModel,
    every: int = 1,
    path: Path | None = None,
    batch_size: int = 8,
    **options: Any,
) -> Seen:
    seen = Seen(negatives, path)
    trainer = quiet_trainer(callbacks=[RefreshNegatives(negatives, every), seen], **{"max_epochs": 4, **options})
    fit(model, RankingSimilarityDataLoader(negatives, batch_size=batch_size), trainer=trainer)
    return seen


def ids_in(negatives: HardNegatives, rows: list[list[int]]) -> set[int]:
    from simlearn.data.object_ids import ObjectIds

    used = {row for own in rows for row in own if row >= 0} | set(negatives.known.positives.values.tolist())
    return set(ObjectIds()([negatives.known.documents[row] for row in used]).tolist())


@pytest.mark.parametrize("cache", [None, CacheType.CPU], ids=["encoded", "cached"])
@pytest.mark.parametrize("two_towers", [False, True])
def test_each_epoch_trains_on_what_was_mined_for_it(cache: CacheType | None, two_towers: bool) -> None:
    negatives = negatives_of()
    config = None if cache is None else CacheConfig(cache)
    model = SmallModel(frozen=cache is not None, cache=config, two_towers=two_towers, learning_rate=0.1)
    seen = train(negatives, model)
    assert negatives.rounds == 4
    assert seen.rows[0] != seen.rows[3], "the model changed, and with it what is hard"
    for rows, ids in zip(seen.rows, seen.ids, strict=True):
        assert ids == ids_in(negatives, rows)


def test_the_cache_encodes_nothing_twice() -> None:
    negatives = negatives_of()
    model = SmallModel(frozen=True, cache=CacheConfig(CacheType.CPU))
    train(negatives, model)
    encoder: Any = model.model.encoders["default"]
    assert encoder.encoded == len(negatives.known.queries) + len(negatives.known.documents)


def test_every_so_many_epochs() -> None:
    negatives = negatives_of(sampling_strategy="random", range_max=20)
    seen = train(negatives, SmallModel(), every=2)
    assert seen.rows[0] == seen.rows[1] != seen.rows[2] == seen.rows[3]
    assert negatives.rounds == 2


def test_figures_are_logged() -> None:
    negatives = negatives_of()
    trainer = quiet_trainer(callbacks=[RefreshNegatives(negatives)])
    fit(SmallModel(), RankingSimilarityDataLoader(negatives, batch_size=8), trainer=trainer)
    assert trainer.callback_metrics["mined_negatives"] == 48
    assert trainer.callback_metrics["queries_without_negatives"] == 0


@pytest.mark.parametrize("cached", [False, True])
def test_a_resumed_training_goes_on_with_its_negatives(tmp_path: Path, cached: bool) -> None:
    options = {"sampling_strategy": "random", "range_max": 20}

    def model() -> SmallModel:
        return SmallModel(frozen=cached, cache=CacheConfig(CacheType.CPU) if cached else None, warmup=0)

    whole, straight = negatives_of(**options), model()
    expected = train(whole, straight, every=2)
    stopped = negatives_of(**options)
    first = model()
    trainer = quiet_trainer(callbacks=[RefreshNegatives(stopped, 2)], max_epochs=3)
    fit(first, RankingSimilarityDataLoader(stopped, batch_size=8), trainer=trainer)
    trainer.save_checkpoint(tmp_path / "after3.ckpt")
    resumed, second = negatives_of(**options), model()
    seen = Seen(resumed)
    trainer = quiet_trainer(callbacks=[RefreshNegatives(resumed, 2), seen], max_epochs=4)
    fit(
        second,
        RankingSimilarityDataLoader(resumed, batch_size=8),
        trainer=trainer,
        ckpt_path=str(tmp_path / "after3.ckpt"),
    )
    assert seen.rows == expected.rows[3:]
    assert seen.ids == expected.ids[3:]


def test_another_data_set_is_refused() -> None:
    trainer = quiet_trainer(callbacks=[RefreshNegatives(negatives_of())])
    with pytest.raises(ValueError, match="another data set"):
        fit(SmallModel(), RankingSimilarityDataLoader(negatives_of(), batch_size=8), trainer=trainer)
    with pytest.raises(ValueError, match="at least 1"):
        RefreshNegatives(negatives_of(), every_n_epochs=0)


@pytest.mark.parametrize("cached", [False, True])
def test_two_processes_train_on_what_one_does(tmp_path: Path, cached: bool) -> None:
    trained = []
    for processes in (1, 2):
        model = SmallModel(
            MultipleNegativesRankingLoss(), frozen=cached, cache=CacheConfig(CacheType.CPU) if cached else None
        ).double()
        train(
            negatives_of(),
            model,
            path=tmp_path / "rows",
            batch_size=8 // processes,
            max_epochs=2,
            devices=processes,
            strategy="ddp_fork" if processes > 1 else "auto",
            precision="64-true",
        )
        trained.append(weights(model))
    alone, first, second = (json.loads((tmp_path / f"rows-{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert alone == first == second
    for name, expected in trained[0].items():
        torch.testing.assert_close(trained[1][name], expected, rtol=1e-6, atol=1e-9)
