"""What does a step of a negative cache cost beside the product of the queries with its documents?

131,072 documents of 768 values and a batch of 32 queries, one thread. A step draws a negative of each query, writes it
back, and inserts the batch's documents; encoders are left out. The product alone is `queries @ documents.T`. Once over
all rows, once over the best 64 of each query, and once over the best of each of 64 groups. And how much memory the
cache holds besides its embeddings.

    python benchmarks/negative_cache.py [--tiny]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs")
    tiny = parser.parse_args().tiny
    size, width, batch, runs = (1024, 16, 4, 1) if tiny else (131_072, 768, 32, 7)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    everything = torch.nn.functional.normalize(torch.randn(size, width), dim=1)
    queries = torch.nn.functional.normalize(torch.randn(batch, width), dim=1).requires_grad_()
    own = torch.arange(batch) + size
    kinds: dict[str, dict[str, Any]] = {
        "all rows": {},
        "best 64": {"top_k": 64},
        "64 groups": {"top_k": 64, "groups": True},
    }
    for name, options in kinds.items():
        cache = NegativeCache(NegativeCacheConfig(size, **options), width, scale=20.0)
        cache.insert(everything, torch.arange(size))
        besides = sum(tensor.nbytes for tensor in cache.state_dict().values()) / everything.nbytes - 1
        drawn = everything.clone()

        def step(cache: NegativeCache = cache, drawn: torch.Tensor = drawn) -> None:
            extra, _ = cache.extra(queries, lambda rows: drawn[rows], own)
            extra.sum().backward()
            cache.insert(everything[:batch], own)

        product, whole = least(runs, lambda cache=cache: queries.detach() @ cache.embeddings.T, step)
        print(
            f"{name:10s} product {product * 1e3:7.1f} ms, step {whole * 1e3:7.1f} ms: {whole / product:.2f}; "
            f"{besides:.2%} of memory besides the embeddings"
        )


if __name__ == "__main__":
    main()
