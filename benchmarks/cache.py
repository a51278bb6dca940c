"""What does a cached epoch cost beside the arithmetic, and how soon does a second run start?

1. A cached epoch of `simlearn.fit`, from memory and memory-mapped, against a bare Lightning loop over row numbers and a
   plain torch loop, on the same vectors, with the same head, loss and batches, in one process. CPU seconds, the least
   of several epochs.
2. Vectors of short texts on disk, and a new process: seconds from the model to the first batch, how much of that makes
   keys of the texts, and what the memory of the process grows by.

    python benchmarks/cache.py [--tiny] [--objects 1000000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

import simlearn
from simlearn import (
    CacheConfig,
    CacheType,
    Encoder,
    GroupSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLoss,
    SimilarityModel,
    SkipConnectionHead,
    SoftmaxLoss,
    TrainableModel,
    TripletLoss,
)
from simlearn.cache import EmbeddingCache
from simlearn.hashing import content_key


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


def with_simlearn(
    vectors: Tensor,
    groups: Tensor,
    loss: SimilarityLoss,
    batch_size: int,
    epochs: int,
    kind: CacheType = CacheType.AUTO,
) -> float:
    class Model(TrainableModel):
        def configure_encoders(self) -> Encoder:
            return TableEncoder(vectors)

        def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
            return SkipConnectionHead(input_embedding_size)

        def configure_loss(self) -> SimilarityLoss:
            return loss

        def configure_caches(self) -> CacheConfig:
            return CacheConfig(kind, batch_size=1024)

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


DIMENSION = 384


class LengthEncoder(Encoder):
    """Says next to nothing, at no cost."""

    trainable = False
    embedding_size = DIMENSION

    def get_collate_fn(self) -> Any:
        return _lengths

    def forward(self, batch: Tensor) -> Tensor:
        return batch[:, None].expand(-1, DIMENSION)


def _lengths(texts: list[str]) -> Tensor:
    return torch.tensor([float(len(text)) for text in texts])


def run_with_texts(count: int, folder: str, version: str | None) -> dict[str, float]:
    """Fill a cache with `count` texts and take a batch, in this process."""
    torch.set_num_threads(1)
    samples = [SimilarityGroupSample(f"text number {row}", row % 100) for row in range(count)]
    loader = GroupSimilarityDataLoader(samples, batch_size=1024, dataset_version=version)
    model = SimilarityModel(LengthEncoder(), SkipConnectionHead(DIMENSION))
    memory, start = _peak_memory(), time.perf_counter()
    cache = EmbeddingCache(model, CacheConfig(CacheType.MMAP, batch_size=4096, save_dir=folder))
    table = cache.fill(loader, progress=False)
    if table is None:
        raise RuntimeError("the data set is fully cached")
    batch = table.batch(torch.randint(count, (1024,)))
    (part,) = model.plan["query"]
    cache.take(part, batch.query.features[part.name], torch.device("cpu"))
    seconds, memory = time.perf_counter() - start, _peak_memory() - memory
    start = time.perf_counter()
    for sample in samples:
        content_key(sample.obj)
    return {"seconds": seconds, "keying": time.perf_counter() - start, "megabytes": memory}


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def second_run(count: int) -> None:
    """Print what a first and a second run take."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"\n{count} texts, vectors of {DIMENSION} on disk: from the model to the first batch")
        print("| run | seconds | of these keying | extra MB |\n|---|---|---|---|")
        for name, version in (("first", ""), ("second", ""), ("first of a version", "1"), ("second of a version", "1")):
            command = [sys.executable, __file__, "--run", str(count), folder, version]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(done.splitlines()[-1])
            keying = 0.0 if name == "second of a version" else 2 * found["keying"]  # the cache's keys, and object ids
            print(f"| {name} | {found['seconds']:.2f} | {keying:.2f} | {found['megabytes']:.0f} |", flush=True)
        (table,) = [path for path in Path(folder).iterdir() if path.name != "datasets"]
        bookkeeping = sum((table / name).stat().st_size for name in ("keys", "checksums")) / count
        print(f"bookkeeping: {bookkeeping:.0f} bytes an object on disk, 13 in memory (an index, and what is verified)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--objects", type=int, default=1_000_000, help="texts of the second run")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        size, folder, version = arguments.run
        print(json.dumps(run_with_texts(int(size), folder, version or None)))
        return
    count, epochs = (2048, 2) if arguments.tiny else (20_000, 5)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    groups = torch.randint(0, 100, (count,))
    print(f"{count} objects, batch 1024, CPU seconds an epoch, 1 thread, torch {torch.__version__}")
    print("| loss | dim | torch | Lightning | simlearn | mapped | / torch | / Lightning | mapped / memory |")
    print("|---|---|---|---|---|---|---|---|---|")

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
        mapped = with_simlearn(vectors, groups, make_loss(), 1024, epochs, CacheType.MMAP)
        ratios = f"{ours / plain:.2f} | {ours / lightning:.2f} | {mapped / ours:.2f}"
        print(f"| {name} | {dim} | {plain:.3f} | {lightning:.3f} | {ours:.3f} | {mapped:.3f} | {ratios} |", flush=True)
    second_run(20_000 if arguments.tiny else arguments.objects)


if __name__ == "__main__":
    main()
