"""Do negatives beyond the batch find more, and what do they cost?

The task of the examples: find the function that a description belongs to, among those of modules that training never
saw, with two heads over one bag of n-grams that is trained from nothing. Every way of having more negatives trains with
the learning rate that was best for it on a part of the data that is neither trained on nor tested on; then with several
seeds. Told are recall@10 on the test part, how many objects an encoder reads for each pair of training, and processor
time.

    python benchmarks/beyond_the_batch.py [--seeds 4] [--picture FILE] [--noise] [--tiny]
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytorch_lightning as pl
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from python_functions import Function, collect, split

import simlearn
from simlearn import (
    BagOfTokensEncoder,
    HardNegatives,
    HashedNGrams,
    MLPHead,
    MultipleNegativesRankingLoss,
    NegativeCache,
    NegativeCacheConfig,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    RefreshNegatives,
    RetrievalEvaluator,
    SimilarityPairSample,
    TrainableModel,
    TwoTower,
    XbmConfig,
)

SCALE, SIZE = 20.0, 128
RATES = (0.001, 0.003, 0.01)


@dataclass(frozen=True)
class Way:
    """A way of having negatives.

    Args:
        batch: pairs of a batch.
        cache: settings of a negative cache.
        xbm: settings of a cross-batch memory.
        chunk: objects that are encoded at once.
        mined: hard negatives of each query.
        epochs: times the usual number.
        passes: objects that an encoder reads for each pair; a chunk that is computed anew is read twice.
    """

    batch: int = 32
    cache: Mapping[str, Any] | None = None
    xbm: Mapping[str, Any] | None = None
    chunk: int | None = None
    mined: int = 0
    epochs: float = 1.0
    passes: float = 2.0


@dataclass(frozen=True)
class Task:
    """Pairs to train on, and searches."""

    pairs: list[SimilarityPairSample]
    validation: RetrievalEvaluator
    test: RetrievalEvaluator
    features: int = 2**17
    epochs: int = 4
    ways: dict[str, Way] = field(default_factory=dict)


class Searching(TrainableModel):
    """A shared bag of n-grams, and a head for each side."""

    def __init__(self, task: Task, way: Way, rate: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.task, self.way = task, way
        super().__init__(learning_rate=rate, encode_chunk_size=way.chunk)

    def configure_encoders(self) -> TwoTower:
        words = BagOfTokensEncoder(HashedNGrams(self.task.features), SIZE)
        return TwoTower(query=words, document=words)

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return MLPHead(input_embedding_size, [], SIZE)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(SCALE)

    def configure_negative_cache(self) -> NegativeCacheConfig | None:
        return None if self.way.cache is None else NegativeCacheConfig(**self.way.cache)

    def configure_xbm(self) -> XbmConfig | None:
        return None if self.way.xbm is None else XbmConfig(**self.way.xbm)


class Curve(pl.Callback):
    """Searches after each epoch, in time of its own."""

    def __init__(self, evaluator: RetrievalEvaluator) -> None:
        self.evaluator = evaluator
        self.found: list[float] = []
        self.elsewhere = 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        start = time.process_time()
        report = simlearn.evaluate(self.evaluator, model=pl_module)
        self.found.append(float(report["recall@10"]))
        self.elsewhere += time.process_time() - start


def trainer_of(epochs: int, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """On the CPU, and quiet."""
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def train(task: Task, way: Way, rate: float, seed: int, evaluator: RetrievalEvaluator) -> tuple[list[float], float]:
    """Recall@10 after each epoch, and processor seconds of the training alone."""
    model, curve = Searching(task, way, rate, seed), Curve(evaluator)
    callbacks: list[pl.Callback] = [curve]
    loader: Any = PairsSimilarityDataLoader(task.pairs, way.batch, seed=seed)
    if way.mined:
        negatives = HardNegatives(task.pairs, num_negatives=way.mined, relative_margin=0.05)
        callbacks.append(RefreshNegatives(negatives))
        loader = RankingSimilarityDataLoader(negatives, way.batch, seed=seed)
    trainer = trainer_of(round(way.epochs * task.epochs), callbacks)
    start = time.process_time()
    simlearn.fit(model, loader, trainer=trainer)
    return curve.found, time.process_time() - start - curve.elsewhere


def search(functions: Sequence[Function]) -> RetrievalEvaluator:
    """Which of these functions does each description belong to?"""
    texts = [function.text for function in functions]
    queries = [function.description for function in functions]
    return RetrievalEvaluator(queries, texts, list(range(len(texts))), metrics=["recall@10"])


def task_of(tiny: bool) -> Task:
    """The parts of the data are of different modules."""
    functions = collect(("stdlib",), 300) if tiny else collect()
    rest, test = split(functions, 60 if tiny else 1000)
    known, validation = split(rest, 60 if tiny else 1000, seed=1)
    pairs = [SimilarityPairSample(function.description, function.text) for function in known]
    size, large = len(pairs) // 2 * 2, 64 if tiny else 256
    filled = {"size": size, "start_filled": 1.0}
    ways = {
        "batch of 32": Way(),
        "batch of 256": Way(large),
        "batch of 256 in chunks of 32": Way(large, chunk=32, passes=4),
        "32 and XBM": Way(xbm={"buffer_size": size, "start_iteration": len(pairs) // 32}),
        "32 and mined, 1 a query": Way(mined=1, passes=5),
        "32 and cache": Way(cache={**filled}, passes=3),
        "32 and cache, 4 samples": Way(cache={**filled, "samples": 4}, passes=6),
        "32 and cache, 4 of the best 64": Way(cache={**filled, "samples": 4, "top_k": 64}, passes=6),
        "32 and cache, without the batch": Way(cache={**filled, "samples": 4, "in_batch": False}, passes=6),
        "32 and cache from the first step": Way(cache={"size": size, "samples": 4}, passes=6),
        "batch of 32, as many passes": Way(epochs=3),
        "batch of 256, as many passes": Way(large, epochs=3),
    }
    if tiny:
        return Task(pairs, search(validation), search(test), 2**10, 2, ways)
    return Task(pairs, search(validation), search(test), ways=ways)


def noise(task: Task) -> None:
    """How far the gradient of one step is from that of the whole softmax, as a part of its length.

    The model is half trained, and the cache is of its own embeddings. The mean over many draws shows what stays.
    """
    model = Searching(task, Way(), 0.01, 0)
    loader = PairsSimilarityDataLoader(task.pairs, 32, seed=0)
    simlearn.fit(model, loader, trainer=trainer_of(1))
    count = len(task.pairs) // 64 * 64
    with torch.no_grad():
        documents = torch.nn.functional.normalize(
            model.model.embed([p.obj_b for p in task.pairs[:count]], "document").values, dim=1
        )
        queries = torch.nn.functional.normalize(model.model.embed([p.obj_a for p in task.pairs[:32]]).values, dim=1)
    own = torch.arange(32)
    positives = SCALE * (queries * documents[:32]).sum(1)

    def gradient(extra: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(torch.nn.functional.softplus(extra - positives).mean(), leaf)[0]

    leaf = documents.clone().requires_grad_()
    logits = SCALE * queries @ leaf.T
    whole = gradient(logits.masked_fill(torch.eye(32, count, dtype=torch.bool), -torch.inf).logsumexp(1), leaf)
    print(f"\nThe gradient of one step beside that of the softmax over {count} documents, 32 queries:")
    print(f"{'':24s} {'one step':>9s} {'mean of 200':>12s}")
    kinds: dict[str, dict[str, Any]] = {
        **{f"{samples} drawn": {"samples": samples} for samples in (1, 4, 16)},
        "best 64, 1 drawn": {"top_k": 64},
        "64 groups, 1 drawn": {"top_k": 64, "groups": True},
        "the best": {"sampler": "highest"},
    }
    for name, options in kinds.items():
        cache = NegativeCache(NegativeCacheConfig(count, **options), SIZE, scale=SCALE)
        cache.insert(documents, torch.arange(count))
        total, apart = torch.zeros_like(leaf), []
        for _ in range(200):
            extra, _ = cache.extra(queries, lambda rows: leaf[rows], own)
            found = gradient(extra, leaf)
            apart.append(float((found - whole).norm() / whole.norm()))
            total += found
        print(f"{name:24s} {mean(apart):9.2f} {float((total / 200 - whole).norm() / whole.norm()):12.2f}")


def picture(task: Task, curves: Mapping[str, list[list[float]]]) -> str:
    """The mean recall@10 of some ways over the objects that an encoder has read for each pair, as SVG."""
    left, right, top, bottom, most, low, high = 48, 640, 24, 280, 24.0, 0.2, 0.56
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 330" font-family="sans-serif" font-size="13">']
    for tick in (0.2, 0.3, 0.4, 0.5):
        y = bottom - (bottom - top) * (tick - low) / (high - low)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="currentColor" opacity=".15"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" fill="currentColor" text-anchor="end">{tick:g}</text>')
    for tick in range(0, int(most) + 1, 6):
        x = left + (right - left) * tick / most
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" fill="currentColor" text-anchor="middle">{tick}</text>')
    caption = "objects that an encoder has read, for each pair"
    parts.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 42}" fill="currentColor" text-anchor="middle">{caption}</text>'
    )
    shown = {
        "32 and cache, 4 samples": "#dc4a3d",
        "batch of 256, as many passes": "#3b82f6",
        "32 and XBM": "#edc948",
        "32 and mined, 1 a query": "#b07aa1",
        "batch of 32, as many passes": "#8b8fa3",
    }
    for number, (name, colour) in enumerate(shown.items()):
        means = [mean(values) for values in zip(*curves[name], strict=True)]
        points = [
            (
                left + (right - left) * (epoch + 1) * task.ways[name].passes / most,
                bottom - (bottom - top) * (value - low) / (high - low),
            )
            for epoch, value in enumerate(means)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points if y <= bottom and x <= right + 1)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.2"/>')
        y = top + 16 + 22 * number
        parts.append(f'<path d="M{right + 16} {y - 4}h18" stroke="{colour}" stroke-width="2.2"/>')
        label = name.removesuffix(", as many passes")
        parts.append(f'<text x="{right + 40}" y="{y}" fill="currentColor">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="how many trainings of each way")
    parser.add_argument("--picture", help="draw recall@10 over encoder passes into this SVG file")
    parser.add_argument("--noise", action="store_true", help="only the noise of a step")
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    task = task_of(arguments.tiny)
    print(f"{len(task.pairs)} pairs, {len(task.validation.queries)} and {len(task.test.queries)} searches")
    if arguments.noise or arguments.tiny:
        noise(task)
    if arguments.noise:
        return
    curves: dict[str, list[list[float]]] = {}
    print(f"{'':32s} {'rate':>6s} {'recall@10':>10s} {'±':>6s} {'passes':>7s} {'CPU s':>6s}")
    for name, way in task.ways.items():
        rates = RATES[1:2] if arguments.tiny else RATES
        best = max(rates, key=lambda rate, way=way: train(task, way, rate, 100, task.validation)[0][-1])
        seeds = range(1 if arguments.tiny else arguments.seeds)
        runs = [train(task, way, best, seed, task.test) for seed in seeds]
        curves[name] = [found for found, _ in runs]
        last = [found[-1] for found, _ in runs]
        spread = stdev(last) if len(last) > 1 else 0.0
        passes, seconds = way.passes * way.epochs, mean(one for _, one in runs)
        print(f"{name:32s} {best:6g} {mean(last):10.3f} {spread:6.3f} {passes:7g} {seconds:6.1f}", flush=True)
    if arguments.picture:
        Path(arguments.picture).write_text(picture(task, curves))


if __name__ == "__main__":
    main()
