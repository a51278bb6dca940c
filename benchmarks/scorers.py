"""What do scorers of many vectors cost, beside the matrix of all products and beside sentence-transformers?

Late interaction of 128 queries of 32 vectors with 128 documents of up to 180, of 128 values, forwards and backwards;
and 64 queries with 1,000 documents, forwards alone. The naive way is one `einsum`, a mask and a maximum. Poly
attention: 64 queries of 16 and of 64 codes with 1,000 documents of 768 values, beside the product of all codes with all
documents. CPU seconds and MB at the highest, one thread, each way in a process of its own; ratios are to ours.

    python benchmarks/scorers.py [--tiny]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from simlearn import Embeddings, MaxSim, PolyAttention

Way = Callable[[Embeddings, Embeddings], Tensor]


def many(count: int, longest: int, size: int, seed: int) -> Embeddings:
    """Objects of some vectors of length 1."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(longest) < torch.randint(longest // 2, longest + 1, (count, 1), generator=generator)
    return Embeddings(
        torch.nn.functional.normalize(torch.randn(count, longest, size, generator=generator), dim=2), mask
    )


def naive(queries: Embeddings, documents: Embeddings) -> Tensor:
    """All products at once."""
    products = torch.einsum("nqd,mtd->nmqt", queries.values, documents.values)
    best = products.masked_fill(~documents.full_mask()[None, :, None], -torch.inf).amax(3)
    return best.masked_fill(~queries.full_mask()[:, None], 0.0).sum(2)


def sentence_transformers(queries: Embeddings, documents: Embeddings) -> Tensor:
    """`sentence_transformers.util.maxsim`."""
    from sentence_transformers.util import maxsim

    return maxsim(queries.values, documents.values, queries.full_mask(), documents.full_mask())


def ours(queries: Embeddings, documents: Embeddings) -> Tensor:
    """MaxSim."""
    scores: Tensor = MaxSim()(queries, documents)
    return scores


def memory(name: str) -> float:
    """MB of this process, as Linux tells it: `VmRSS` now, `VmHWM` at most since that was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def measure(way: Way, sizes: tuple[int, int, int, int, int], backwards: bool, runs: int) -> tuple[float, float]:
    """The least CPU seconds, and MB at most besides what was there; in a process of its own."""
    torch.set_num_threads(1)
    queries, queries_length, documents, documents_length, size = sizes
    x, y = many(queries, queries_length, size, 0), many(documents, documents_length, size, 1)
    x.values.requires_grad_(backwards), y.values.requires_grad_(backwards)

    def run(x: Embeddings, y: Embeddings) -> None:
        scores = way(x, y)
        if backwards:
            scores.sum().backward()

    run(x.take(slice(0, 2)), y.take(slice(0, 2)))  # what is loaded when it is first used
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    run(x, y)
    most = memory("VmHWM") - before
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        run(x, y)
        seconds.append(time.process_time() - start)
    return min(seconds), most


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """The same in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def poly(codes: int, documents: int, size: int, runs: int) -> tuple[float, float]:
    """CPU seconds of the product of all codes with all documents, and of poly attention."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(64, codes, size, generator=generator) / size**0.25
    x, y = Embeddings(values), Embeddings(torch.randn(documents, size, generator=generator) / size**0.25)
    scorer, best = PolyAttention(), [float("inf")] * 2
    with torch.no_grad():
        for _ in range(runs + 1):
            for number, work in enumerate((lambda: values.view(-1, size) @ y.values.T, lambda: scorer(x, y))):
                start = time.process_time()
                work()
                best[number] = min(best[number], time.process_time() - start)
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs")
    tiny = parser.parse_args().tiny
    runs = 1 if tiny else 3
    tasks = {
        "128 x 128, with gradients": ((8, 4, 8, 9, 8) if tiny else (128, 32, 128, 180, 128), True),
        "64 x 1,000": ((4, 4, 20, 9, 8) if tiny else (64, 32, 1000, 180, 128), False),
    }
    for name, (sizes, backwards) in tasks.items():
        print(name)
        found = {
            way.__name__: apart(measure, way, sizes, backwards, runs) for way in (ours, naive, sentence_transformers)
        }
        for way, (seconds, most) in found.items():
            ratio, part = seconds / found["ours"][0], found["ours"][1] / max(most, 1e-9)
            told = f"{ratio:6.2f} of our time, ours {part:5.2f} of its memory"
            print(f"  {way:22s} {seconds:8.3f} s  {most:8.1f} MB   {told}")
    for codes in (16, 64):
        product, whole = apart(poly, codes, 20 if tiny else 1000, 16 if tiny else 768, 2 if tiny else 7)
        told = f"product {1e3 * product:.1f} ms, scores {1e3 * whole:.1f} ms: {whole / product:.2f}"
        print(f"poly attention, {codes} codes: {told}")


if __name__ == "__main__":
    main()
