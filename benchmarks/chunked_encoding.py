"""What does encoding in chunks keep, and what does it cost?

One training step of `simlearn.fit` with a transformer of four layers: 1024 objects in chunks of 32, against 32 objects
without chunks (memory) and 1024 without chunks (time). Memory is what torch's allocator holds at most above what it
held when the step began: activations, gradients, and all that the loss makes. Not the process's size, which also
counts what the allocator has given back.

    python benchmarks/chunked_encoding.py [--tiny] [--device cuda]
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

import simlearn
from simlearn import (
    Encoder,
    GroupSimilarityDataLoader,
    InfoNCELoss,
    SimilarityGroupSample,
    SimilarityLoss,
    TrainableModel,
    TripletLoss,
)

WORDS, LENGTH = 1000, 32


class TransformerEncoder(Encoder):
    """The mean over the tokens of a transformer, from nothing and therefore trainable."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.words = nn.Embedding(WORDS, width)
        layer = nn.TransformerEncoderLayer(width, width // 64, 4 * width, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    @property
    def embedding_size(self) -> int:
        return self.width

    def get_collate_fn(self) -> Any:
        return torch.stack

    def forward(self, batch: Tensor) -> Tensor:
        tokens: Tensor = self.layers(self.words(batch))
        return tokens.mean(dim=1)


class Model(TrainableModel):
    """The transformer and a loss; the head is empty."""

    def __init__(self, loss: SimilarityLoss, width: int, chunk_size: int | None) -> None:
        self.given, self.width = [loss], width  # in a list: torch takes no module before the constructor has run
        super().__init__(encode_chunk_size=chunk_size, warmup=0)

    def configure_encoders(self) -> TransformerEncoder:
        return TransformerEncoder(self.width)

    def configure_loss(self) -> SimilarityLoss:
        return self.given[0]


class StepMeter(pl.Callback):
    """Times all steps but the first, and weighs the last."""

    def __init__(self, steps: int, cuda: bool) -> None:
        self.steps, self.cuda = steps, cuda
        self.seconds: list[float] = []
        self.bytes = 0

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        module.zero_grad()  # the gradients of the step before are not this one's cost
        self.weighs = trainer.global_step == self.steps - 1
        if self.weighs and self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        elif self.weighs:
            self.profiler = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
            )
            self.profiler.start()
        self.start = self._now()

    def on_train_batch_end(self, *args: Any) -> None:
        seconds = self._now() - self.start
        if not self.weighs:
            self.seconds.append(seconds)
        elif self.cuda:
            self.bytes = torch.cuda.max_memory_allocated() - self.before
        else:
            self.profiler.stop()
            self.bytes = peak_of(self.profiler)

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter() if self.cuda else time.process_time()


def peak_of(profiler: torch.profiler.profile) -> int:
    """The most bytes that the CPU allocator held while the profiler ran, above what it held before."""
    assert profiler.profiler is not None and profiler.profiler.kineto_results is not None
    changes: list[Any] = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@dataclass(frozen=True)
class Case:
    """A way to train."""

    batch_size: int
    chunk_size: int | None

    def __str__(self) -> str:
        return f"{self.batch_size} " + ("at once" if self.chunk_size is None else f"in chunks of {self.chunk_size}")


def measure(case: Case, loss: SimilarityLoss, width: int, device: str) -> tuple[float, float]:
    """Milliseconds an object, the least of the steps, and the peak in MB."""
    torch.manual_seed(0)
    steps = 4
    objects = torch.randint(0, WORDS, (steps * case.batch_size, LENGTH))
    samples = [SimilarityGroupSample(row, number // 4) for number, row in enumerate(objects)]
    meter = StepMeter(steps, device != "cpu")
    settings = {**simlearn.trainer_defaults(), "callbacks": [meter], "accelerator": device, "max_steps": steps}
    loader = GroupSimilarityDataLoader(samples, batch_size=case.batch_size, samples_per_group=4)
    model = Model(loss, width, case.chunk_size)
    simlearn.fit(model, loader, trainer=pl.Trainer(**settings, enable_progress_bar=False))
    return 1000 * min(meter.seconds[1:]) / case.batch_size, meter.bytes / 2**20


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a small model and batch, to see that it runs")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # six times what a trainer has found
    small, large, width = (8, 32, 64) if arguments.tiny else (32, 1024, 256)
    print(f"torch {torch.__version__}, {arguments.device}, 4 layers of width {width}, {LENGTH} tokens an object")
    print("| loss | batch | ms an object | peak MB | peak / that of the small batch |\n|---|---|---|---|---|")
    for loss in (InfoNCELoss(), TripletLoss()):
        least = None
        for case in (Case(small, None), Case(large, small), Case(large, None)):
            milliseconds, megabytes = measure(case, loss, width, arguments.device)
            least = least or megabytes
            row = f"{milliseconds:.2f} | {megabytes:.0f} | {megabytes / least:.2f}"
            print(f"| {type(loss).__name__} | {case} | {row} |", flush=True)


if __name__ == "__main__":
    main()
