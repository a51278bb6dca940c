"""Two processes train like one with twice the batch, and each sample is seen once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, groups, numbers, pairs, quiet_trainer, weights
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    Encoder,
    GroupSimilarityDataLoader,
    ListwiseSoftmaxLoss,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SampledSoftmaxLoss,
    SimilarityDataLoader,
    SimilarityLoss,
    SimilarityPairSample,
    SimilarityRankingSample,
    SoftmaxLoss,
    TrainableModel,
    TripletLoss,
    XbmConfig,
    fit,
)


class Stream(IterableDataset[SimilarityPairSample]):
    def __init__(self, count: int) -> None:
        self.samples = pairs(count)

    def __iter__(self) -> Any:
        return iter(self.samples)


class Recorder(pl.Callback):
    """Writes down the ids of the objects that each process sees in each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[list[int]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append([])

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.seen[-1] += batch.relation.query_ids.tolist()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (self.folder / f"{trainer.world_size}-{trainer.global_rank}.json").write_text(json.dumps(self.seen))


def train(
    folder: Path, loader: SimilarityDataLoader, processes: int, validation: Any = None, **options: Any
) -> tuple[SmallModel, pl.Trainer]:
    model = SmallModel(**options).double()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Recorder(folder)],
        precision="64-true",
    )
    fit(model, loader, validation, trainer=trainer)
    return model, trainer


def loader_of(kind: str, processes: int) -> SimilarityDataLoader:
    batch_size = 16 // processes
    if kind == "pairs":
        return PairsSimilarityDataLoader(pairs(70), batch_size=batch_size)
    if kind == "stream":
        return PairsSimilarityDataLoader(Stream(70), batch_size=batch_size)
    return GroupSimilarityDataLoader(groups(64), batch_size=batch_size, samples_per_group=4)


@pytest.mark.parametrize("kind", ["pairs", "stream", "groups"])
@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
def test_two_processes_train_like_one(kind: str, cached: bool, tmp_path: Path) -> None:
    loss: Any = TripletLoss if kind == "groups" else MultipleNegativesRankingLoss
    options = {"frozen": cached, "cache": CacheConfig() if cached else None}
    one, _ = train(tmp_path, loader_of(kind, 1), 1, loss=loss(), **options)
    two, _ = train(tmp_path, loader_of(kind, 2), 2, loss=loss(), **options)
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(two)[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    whole = json.loads((tmp_path / "1-0.json").read_text())
    shares = [json.loads((tmp_path / f"2-{rank}.json").read_text()) for rank in range(2)]
    for epoch in range(2):
        seen = shares[0][epoch] + shares[1][epoch]
        assert len(seen) == len(set(seen)), "a sample was seen twice in an epoch"
        assert sorted(seen) == sorted(whole[epoch])
        assert len(seen) == 64


@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_the_memory_of_earlier_batches_is_that_of_all_processes(kind: str, tmp_path: Path) -> None:
    loss: Any = TripletLoss if kind == "groups" else MultipleNegativesRankingLoss
    xbm = XbmConfig(buffer_size=40, start_iteration=1)
    one, _ = train(tmp_path, loader_of(kind, 1), 1, loss=loss(), xbm=xbm)
    two, _ = train(tmp_path, loader_of(kind, 2), 2, loss=loss(), xbm=xbm)
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(two)[name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_class_loss_trains_its_own_parameters_alike(tmp_path: Path) -> None:
    def loss() -> SimilarityLoss:
        torch.manual_seed(1)
        return SoftmaxLoss(8, 16)

    one, _ = train(tmp_path, loader_of("groups", 1), 1, loss=loss())
    two, _ = train(tmp_path, loader_of("groups", 2), 2, loss=loss())
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(two)[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    assert not torch.equal(weights(two)["loss.kernel"], loss().double().kernel)


@pytest.mark.parametrize("count", [1, 21])
def test_validation_of_uneven_shares(count: int, tmp_path: Path) -> None:
    validation = PairsSimilarityDataLoader(pairs(count, seed=5), batch_size=3)
    _, trainer = train(tmp_path, loader_of("pairs", 2), 2, validation)
    assert torch.isfinite(trainer.callback_metrics["validation_loss"])


def test_rankings_train_alike_though_nothing_of_them_is_gathered(tmp_path: Path) -> None:
    """Queries without a choice weigh nothing, so that processes divide by different numbers."""
    samples = [
        SimilarityRankingSample(numbers(row, 1)[0], numbers(100 + row, 1 + row % 4), [1.0] + [0.0] * (row % 4))
        for row in range(64)
    ]

    def train_on(processes: int) -> tuple[SmallModel, pl.Trainer]:
        loader = RankingSimilarityDataLoader(samples, batch_size=16 // processes)
        return train(tmp_path, loader, processes, loss=ListwiseSoftmaxLoss())

    (one, alone), (two, together) = train_on(1), train_on(2)
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(two)[name], expected, rtol=1e-9, atol=1e-12, msg=name)
    for figure in ("train_loss", "train_queries_without_choice"):
        torch.testing.assert_close(together.callback_metrics[figure], alone.callback_metrics[figure])


class Table(Encoder):
    embedding_size = 8  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(200, 8, sparse=True)

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Tensor) -> Tensor:
        return self.rows(batch)


class TableModel(TrainableModel):
    def configure_encoders(self) -> Any:
        torch.manual_seed(0)
        return Table()

    def configure_loss(self) -> Any:
        return MultipleNegativesRankingLoss()


def test_sparse_gradients_of_tables_are_averaged() -> None:
    def trained(processes: int) -> Tensor:
        model = TableModel().double()
        loader = PairsSimilarityDataLoader(
            [SimilarityPairSample(i, i + 100) for i in range(64)], batch_size=16 // processes
        )
        options: Any = {"devices": processes, "strategy": "ddp_fork" if processes > 1 else "auto"}
        fit(model, loader, trainer=quiet_trainer(precision="64-true", **options))
        (weight,) = model.model.parameters()
        return weight.detach()

    torch.testing.assert_close(trained(2), trained(1), rtol=1e-8, atol=1e-10)


def test_sparse_gradients_that_ddp_cannot_average_are_refused(tmp_path: Path) -> None:
    loss = SampledSoftmaxLoss(8, 16, num_sampled=4, sparse=True)
    with pytest.raises(ValueError, match="SampledSoftmaxLoss has sparse gradients.* pass sparse=False"):
        train(tmp_path, loader_of("groups", 2), 2, loss=loss)
