"""What does simlearn cost beside the arithmetic?

A cached epoch of `simlearn.fit` against a bare Lightning loop over row numbers and a plain torch loop, on the same
vectors, with the same head, loss and batches, in one process. CPU seconds, the least of several epochs.

    python benchmarks/cached_epoch.py [--tiny]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

import simlearn
from simlearn import (
    CacheConfig,
    Encoder,
    GroupSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLoss,
    SkipConnectionHead,
    SoftmaxLoss,
    TrainableModel,
    TripletLoss,
)


class TableEncoder(Encoder):
    """A frozen encoder that looks vectors up: whatever an epoch costs besides is the framework's."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)

    @property
    def trainable(self) -> bool:
        return False

    @property
    def embedding_size(self) -> int:
        return int(self.vectors.shape[1])

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Tensor) -> Tensor:
        return self.vectors[batch]


class EpochTimer(pl.Callback):
    """CPU seconds of each training epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []

    def on_train_epoch_start(self, *args: Any) -> None:
        self.start = time.process_time()

    def on_train_epoch_end(self, *args: Any) -> None:
        self.epochs.append(time.process_time() - self.start)


def make_trainer(epochs: int, timer: EpochTimer) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[timer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def with_simlearn(vectors: Tensor, groups: Tensor, loss: SimilarityLoss, batch_size: int, epochs: int) -> float:
    class Model(TrainableModel):
        def configure_encoders(self) -> Encoder:
            return TableEncoder(vectors)

        def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
            return SkipConnectionHead(input_embedding_size)

        def configure_loss(self) -> SimilarityLoss:
            return loss

        def configure_caches(self) -> CacheConfig:
            return CacheConfig(batch_size=1024)

    samples = [SimilarityGroupSample(row, int(group)) for row, group in enumerate(groups)]
    timer = EpochTimer()
    loader = GroupSimilarityDataLoader(samples, batch_size=batch_size)
    simlearn.fit(Model(warmup=0), loader, trainer=make_trainer(epochs, timer))
    return min(timer.epochs)


def batches(count: int, batch_size: int) -> list[Tensor]:
    return [rows for rows in torch.randperm(count).split(batch_size) if len(rows) == batch_size]


def with_lightning(vectors: Tensor, groups: Tensor, loss: SimilarityLoss, batch_size: int, epochs: int) -> float:
    class Rows:
        def __iter__(self) -> Any:
            return iter(batches(len(groups), batch_size))

        def __len__(self) -> int:
            return len(groups) // batch_size

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.loss = SkipConnectionHead(vectors.shape[1]), loss

        def training_step(self, rows: Tensor, batch_idx: int) -> Tensor:
            value = self.loss(self.head(vectors.index_select(0, rows)), groups.index_select(0, rows))
            self.log("train_loss", value.detach(), batch_size=len(rows))
            return value

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=1e-3)

    timer = EpochTimer()
    make_trainer(epochs, timer).fit(Model(), train_dataloaders=Rows())
    return min(timer.epochs)


def with_torch(vectors: Tensor, groups: Tensor, loss: SimilarityLoss, batch_size: int, epochs: int) -> float:
    head = SkipConnectionHead(vectors.shape[1])
    optimizer = torch.optim.AdamW([*head.parameters(), *loss.parameters()], lr=1e-3)
    seconds = []
    for _ in range(epochs):
        start = time.process_time()
        for rows in batches(len(groups), batch_size):
            optimizer.zero_grad()
            loss(head(vectors.index_select(0, rows)), groups.index_select(0, rows)).backward()
            optimizer.step()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args()
    count, epochs = (2048, 2) if arguments.tiny else (20_000, 5)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    groups = torch.randint(0, 100, (count,))
    print(f"{count} objects, batch 1024, CPU seconds an epoch, 1 thread, torch {torch.__version__}")
    print("| loss | dim | torch | Lightning | simlearn | / torch | / Lightning |")
    print("|---|---|---|---|---|---|---|")

    def softmax(dim: int) -> SimilarityLoss:
        loss = SoftmaxLoss(dim, 100)
        loss.set_classes(groups)
        return loss

    cases: list[tuple[str, int, Any]] = [
        ("softmax", 8, lambda: softmax(8)),
        ("softmax", 384, lambda: softmax(384)),
        ("triplet hard", 384, TripletLoss),
    ]
    for name, dim, make_loss in cases:
        vectors = torch.nn.functional.normalize(torch.randn(count, dim), dim=1)
        plain, lightning, ours = (
            way(vectors, groups, make_loss(), 1024, epochs) for way in (with_torch, with_lightning, with_simlearn)
        )
        ratios = f"{ours / plain:.2f} | {ours / lightning:.2f}"
        print(f"| {name} | {dim} | {plain:.3f} | {lightning:.3f} | {ours:.3f} | {ratios} |")


if __name__ == "__main__":
    main()
