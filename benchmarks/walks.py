"""How far the way through the library is: the files and functions that a run enters, and how often it changes rooms.

Three walks, each a real `simlearn.fit` on the CPU:

- step: pairs of texts from the loader to the loss and back, one training step after the first;
- cache: objects into the embedding cache and out of it again; only what such a run enters beyond one without a cache;
- fit: everything from the call of `fit` until Lightning takes over.

A room is a top-level module or package of simlearn; a move is a call into another room than that of the call before.
Functions of other packages are not counted, comprehensions belong to the function that holds them. None of it says
anything about speed: it is how much there is to read for somebody who follows a sample.

    python benchmarks/walks.py [--names]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

import simlearn
from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    HashedNGrams,
    MLPHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    TrainableModel,
)

HOME = Path(simlearn.__file__).parent


class Walk:
    """What a profiled run enters."""

    def __init__(self) -> None:
        self.functions: set[tuple[str, str]] = set()
        self.moves = 0
        self._room = ""

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record what this thread enters."""
        sys.setprofile(self._enter)
        try:
            yield
        finally:
            sys.setprofile(None)

    def start(self) -> None:
        """Record from here."""
        sys.setprofile(self._enter)

    def stop(self) -> None:
        """Record no longer."""
        sys.setprofile(None)

    def _enter(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_name.startswith("<") or not code.co_filename.startswith(str(HOME)):
            return
        file = Path(code.co_filename).relative_to(HOME)
        self.functions.add((str(file), code.co_qualname))
        self.moves += file.parts[0] != self._room
        self._room = file.parts[0]

    def report(self, name: str, names: bool) -> None:
        """Print the figures, and the functions if asked for."""
        files = {file for file, _ in self.functions}
        print(f"{name:6}{len(files):4} files {len(self.functions):5} functions, {self.moves:4} moves between rooms")
        if names:
            for file, function in sorted(self.functions):
                print(f"    {file}: {function}")


class Search(TrainableModel):
    """Pairs of texts with a small encoder, trained or frozen behind a cache."""

    def __init__(self, cache: str | None) -> None:
        self.cache = cache
        super().__init__()

    def configure_encoders(self) -> BagOfTokensEncoder:
        """Hashed words."""
        return BagOfTokensEncoder(HashedNGrams(buckets=512), embedding_size=16, trainable=self.cache is None)

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        """One hidden layer."""
        return MLPHead(input_embedding_size, hidden=[16], output=8)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        """The usual one."""
        return MultipleNegativesRankingLoss(scale=20.0)

    def configure_caches(self) -> CacheConfig | None:
        """On disk, where there is one."""
        return None if self.cache is None else CacheConfig(save_dir=self.cache)


class SecondStep(pl.Callback):
    """Records the step after the first: making its batch, the forward pass, the backward pass, the optimiser."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Start after the first, stop after the second."""
        if batch_idx == 0:
            self.walk.start()
        else:
            self.walk.stop()


class Filling(SecondStep):
    """Records `on_fit_start`, in which the cache is filled, and the second step."""

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Wrap the model's hook for this run."""
        fill = pl_module.on_fit_start

        def recorded() -> None:
            with self.walk.recorded():
                fill()

        pl_module.on_fit_start = recorded


def run(cache: str | None, callback: pl.Callback | None, before: Callable[[], None], after: Callable[[], None]) -> None:
    """One epoch of four batches; `before` is called just before `fit`, `after` when Lightning takes over."""
    pairs = [SimilarityPairSample(f"red shoe {number}", f"shoe {number} in red") for number in range(32)]
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[callback] if callback else [],
    )
    fit = trainer.fit

    def taken_over(*args: Any, **kwargs: Any) -> None:
        after()
        fit(*args, **kwargs)

    trainer.fit = taken_over  # type: ignore[method-assign]
    model = Search(cache)
    loader = PairsSimilarityDataLoader(pairs, batch_size=8)
    before()
    simlearn.fit(model, loader, trainer=trainer)


def nothing() -> None:
    """Does nothing."""


def walks() -> dict[str, Walk]:
    """The three walks by name."""
    step, cached, plain, fit = Walk(), Walk(), Walk(), Walk()
    run(None, SecondStep(step), nothing, nothing)
    run(None, Filling(plain), nothing, nothing)
    with tempfile.TemporaryDirectory() as folder:
        run(folder, Filling(cached), nothing, nothing)
    cached.functions -= plain.functions
    run(None, None, fit.start, fit.stop)
    return {"step": step, "cache": cached, "fit": fit}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", action="store_true", help="the functions too")
    parser.add_argument("--tiny", action="store_true", help="for tests: the same, since it is tiny")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name, walk in walks().items():
        walk.report(name, arguments.names)


if __name__ == "__main__":
    main()
