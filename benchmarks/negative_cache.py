"""What does a step of a negative cache cost beside the product of the queries with its documents?

131,072 documents of 768 values and a batch of 32 queries, one thread. A step draws a negative of each query, writes it
back, and inserts the batch's documents; encoders are left out. The product alone is `queries @ documents.T`. Once over
all rows, once over the best 64 of each query, and once over the best of each of 64 groups. And how much memory the
cache holds besides its embeddings. With a batch of 1,024 the most that a step takes besides what was there is told.

    python benchmarks/negative_cache.py [--tiny]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from simlearn import NegativeCache, NegativeCacheConfig


def least(runs: int, *works: Callable[[], object]) -> list[float]:
    """The least processor time of each of some works, done in turn."""
    best = [float("inf")] * len(works)
    for _ in range(runs):
        for number, work in enumerate(works):
            start = time.process_time()
            work()
            best[number] = min(best[number], time.process_time() - start)
    return best


def units(count: int, width: int) -> torch.Tensor:
    """Random vectors of length 1."""
    return torch.nn.functional.normalize(torch.randn(count, width), dim=1)


def filled(size: int, width: int, **options: Any) -> NegativeCache:
    """A full cache; filled part by part, so that nothing larger was ever there."""
    torch.manual_seed(0)
    cache = NegativeCache(NegativeCacheConfig(size, **options), width, scale=20.0)
    for ids in torch.arange(size).split(4096):
        cache.insert(units(len(ids), width), ids)
    return cache


def step_of(cache: NegativeCache, batch: int) -> Callable[[], None]:
    """A step of training, without the encoders: what is drawn is as it was kept."""
    width = cache.embeddings.shape[1]
    queries, documents, own = (
        units(batch, width).requires_grad_(),
        units(batch, width),
        torch.arange(batch) + cache.size,
    )

    def step() -> None:
        extra, _ = cache.extra(queries, lambda rows: cache.embeddings[rows], own)
        extra.sum().backward()
        cache.insert(documents, own)

    return step


def memory(name: str) -> float:
    """MB of this process, as Linux tells it: `VmRSS` now, `VmHWM` at most since that was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def peak(size: int, width: int, batch: int, options: dict[str, Any]) -> float:
    """MB that a step takes at most besides what was there; in a process of its own."""
    torch.set_num_threads(1)
    step = step_of(filled(size, width, **options), batch)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    step()
    return memory("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs")
    tiny = parser.parse_args().tiny
    size, width, batch, runs = (1024, 16, 4, 1) if tiny else (131_072, 768, 32, 7)
    torch.set_num_threads(1)
    kinds: dict[str, dict[str, Any]] = {
        "all rows": {},
        "best 64": {"top_k": 64},
        "64 groups": {"top_k": 64, "groups": True},
    }
    for name, options in kinds.items():
        cache, asked = filled(size, width, **options), units(batch, width)
        besides = sum(tensor.nbytes for tensor in cache.state_dict().values()) / cache.embeddings.nbytes - 1
        step = step_of(cache, batch)
        product, whole = least(runs, lambda cache=cache, asked=asked: asked @ cache.embeddings.T, step)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            most = pool.apply(peak, (size, width, 32 * batch, options))
        print(
            f"{name:10s} product {product * 1e3:7.1f} ms, step {whole * 1e3:7.1f} ms: {whole / product:.2f}; "
            f"{besides:.2%} of memory besides the embeddings; a batch of {32 * batch:,} takes {most:.0f} MB"
        )


if __name__ == "__main__":
    main()
