"""What does an exact evaluation cost?

Queries and documents are random unit vectors, five relevant documents a query. Each case runs in a process of its own:
wall-clock seconds (the least of three) and what the peak of its own memory grows by beside the inputs, files not
counted. Ratios are to be read, not seconds.

    python benchmarks/evaluation.py [--tiny] [--threads 1] [--large] [--device cuda]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.evaluation import Figure, Qrels, Ranking, retrieval_metrics
from simlearn.search import top_k

DIMENSION = 384
CUTOFFS = (1, 10, 100)
METRICS = [f"{name}@{k}" for name in ("recall", "mrr", "ndcg", "map") for k in CUTOFFS]

Run = Callable[[], dict[str, float]]


def inputs(n_queries: int, n_documents: int, device: str) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Queries, documents and the rows of five relevant documents of each query, near it."""
    generator = torch.Generator().manual_seed(0)
    documents = F.normalize(torch.randn(n_documents, DIMENSION, generator=generator), dim=1)
    relevant = torch.stack([torch.randperm(n_documents, generator=generator)[:5] for _ in range(n_queries)])
    noise = torch.randn(n_queries, DIMENSION, generator=generator) * 0.2
    queries = F.normalize(documents[relevant].mean(1) + noise, dim=1)
    return queries.to(device), documents.to(device), relevant.tolist()


def of_simlearn(queries: Tensor, documents: Tensor, relevant: list[list[int]]) -> Run:
    """The search and twelve figures."""
    metrics = retrieval_metrics(METRICS)

    def run() -> dict[str, float]:
        ranking = Ranking.of(top_k(queries, documents, max(CUTOFFS)).indices, Qrels.from_lists(relevant))
        return {metric.name: Figure.of(metric(ranking)).value for metric in metrics}

    return run


def of_sentence_transformers(queries: Tensor, documents: Tensor, relevant: list[list[int]]) -> Run:
    """InformationRetrievalEvaluator at its defaults, with a model that looks the vectors up."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    vectors = {"q": queries, "d": documents}

    class Precomputed(SentenceTransformer):
        def encode(self, sentences: list[str], **_: Any) -> Tensor:  # type: ignore[override]
            first, last = int(sentences[0][1:]), int(sentences[-1][1:])
            return vectors[sentences[0][0]][first : last + 1]

        encode_query = encode_document = encode  # type: ignore[assignment]

    cutoffs = list(CUTOFFS)
    evaluator = InformationRetrievalEvaluator(
        {f"q{row}": f"q{row}" for row in range(len(queries))},
        {f"d{row}": f"d{row}" for row in range(len(documents))},
        {f"q{row}": {f"d{document}" for document in rows} for row, rows in enumerate(relevant)},
        mrr_at_k=cutoffs,
        ndcg_at_k=cutoffs,
        accuracy_at_k=cutoffs,
        precision_recall_at_k=cutoffs,
        map_at_k=cutoffs,
        score_functions={"cos": lambda first, second: first @ second.T},
        write_csv=False,
    )
    model = Precomputed(modules=[torch.nn.Identity()], device=str(queries.device))

    def run() -> dict[str, float]:
        found = evaluator(model)
        return {name: float(found[f"cos_{name}"]) for name in METRICS}

    return run


def search_alone(queries: Tensor, documents: Tensor, _: list[list[int]], backend: Any = "torch") -> Run:
    """The hundred best, by cosine."""
    return lambda: {"checksum": float(top_k(queries, documents, 100, backend=backend).scores.double().sum())}


def faiss_flat(queries: Tensor, documents: Tensor, _: list[list[int]]) -> Run:
    """A flat index, filled beforehand."""
    import faiss

    index = faiss.IndexFlatIP(DIMENSION)
    index.add(documents.numpy())
    return lambda: {"checksum": float(index.search(queries.numpy(), 100)[0].astype(np.float64).sum())}


CASES: dict[str, Callable[[Tensor, Tensor, list[list[int]]], Run]] = {
    "12 figures, sentence-transformers": of_sentence_transformers,
    "12 figures, simlearn": of_simlearn,
    "search, faiss IndexFlatIP": faiss_flat,
    "search, simlearn": search_alone,
    "search, simlearn with faiss": partial(search_alone, backend="faiss"),
    "search, simlearn with usearch": partial(search_alone, backend="usearch"),
}
LARGE = "search of a memory map, simlearn"


class PeakMemory:
    """The highest memory of this process, without mapped files, while it is open; looked at every 5 ms."""

    def __enter__(self) -> PeakMemory:
        if sys.platform == "linux":
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the inputs left behind would hide what is taken now
        self.before = self.peak = _own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, _own_memory())


def _own_memory() -> float:
    """Megabytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def measure(name: str, n_queries: int, n_documents: int, threads: int, device: str) -> dict[str, Any]:
    """Seconds, megabytes and what was computed, in this process."""
    torch.set_num_threads(threads)
    if name == LARGE:
        return measure_large(n_queries, n_documents)
    given = inputs(n_queries, n_documents, device)
    small = inputs(64, 1000, device)
    CASES[name](*small)()  # imports and first allocations are nobody's cost
    run = CASES[name](*given)
    seconds = []
    cuda = device != "cpu"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
    with PeakMemory() as memory:
        for _ in range(3):
            start = time.perf_counter()
            figures = run()
            seconds.append(time.perf_counter() - start)
    grown = (torch.cuda.max_memory_allocated() - allocated) / 2**20 if cuda else memory.peak - memory.before
    return {"seconds": min(seconds), "megabytes": grown, "figures": figures}


def measure_large(n_queries: int, n_documents: int) -> dict[str, Any]:
    """A corpus that lies in a file."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(n_queries, DIMENSION, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        path, shape = Path(folder) / "documents", (n_documents, DIMENSION)
        documents = np.memmap(path, np.float32, "w+", shape=shape)
        for start in range(0, n_documents, 10_000):
            part = documents[start : start + 10_000]
            part[:] = torch.randn(*part.shape, generator=generator).numpy()
        documents.flush()
        mapped = np.memmap(path, np.float32, "r", shape=shape)
        top_k(queries[:64], mapped[:5000], 100)
        with PeakMemory() as memory:
            start_time = time.perf_counter()
            checksum = float(top_k(queries, mapped, 100).scores.double().sum())
            seconds = time.perf_counter() - start_time
    return {"seconds": seconds, "megabytes": memory.peak - memory.before, "figures": {"checksum": checksum}}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="few vectors, to see that it runs")
    parser.add_argument("--large", action="store_true", help="also 10,000 queries and 1,000,000 documents in a file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        name, n_queries, n_documents = arguments.case
        print(json.dumps(measure(name, int(n_queries), int(n_documents), arguments.threads, arguments.device)))
        return
    sizes = (100, 2000) if arguments.tiny else (2000, 100_000)
    plan = [
        (name, *sizes) for name in CASES if arguments.device == "cpu" or name.endswith(("simlearn", "transformers"))
    ]
    if arguments.large or arguments.tiny:
        plan.append((LARGE, *((100, 4000) if arguments.tiny else (10_000, 1_000_000))))
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads, dimension {DIMENSION}")
    print("| case | queries | documents | seconds | extra MB | times |\n|---|---|---|---|---|---|")
    base: tuple[str, float] = ("", 1.0)
    for name, n_queries, n_documents in plan:
        command = [sys.executable, __file__, "--threads", str(arguments.threads), "--device", arguments.device]
        command += ["--case", name, str(n_queries), str(n_documents)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1]
            print(f"| {name} | {n_queries} | {n_documents} | - | - | {reason} |", flush=True)
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        task = name.partition(",")[0]
        if task != base[0]:
            base = task, found["seconds"]
        print(
            f"| {name} | {n_queries} | {n_documents} | {found['seconds']:.3f} | {found['megabytes']:.0f} | "
            f"{found['seconds'] / base[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
