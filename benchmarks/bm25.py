"""What does `simlearn.BM25` cost beside bm25s, on which it stands?

Documents are of words that are as frequent as in natural text (Zipf); queries are three words of a document. simlearn
cuts texts into words, bm25s is given the same words; so cutting is timed by itself, and two ratios are told: to cutting
and bm25s together, and to bm25s alone. CPU seconds, the least of five in one process, in turns. The ten best scores are
compared before anything is timed.

    python benchmarks/bm25.py [--tiny]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import bm25s
import numpy as np

from simlearn import BM25
from simlearn.encoders import UnicodeFold
from simlearn.encoders.ngrams import words_in

K = 10
TARGET = 1.2


def texts(n_documents: int, n_queries: int, length: int, n_words: int) -> tuple[list[str], list[str]]:
    """Documents of `length` words on average, and queries."""
    random = np.random.default_rng(0)
    shares = 1 / np.arange(1, n_words + 1)
    lengths = random.poisson(length - 1, n_documents) + 1
    drawn = np.split(random.choice(n_words, lengths.sum(), p=shares / shares.sum()), lengths.cumsum()[:-1])
    documents = [" ".join(f"Word{word}" for word in own) for own in drawn]
    asked = random.integers(n_documents, size=n_queries)
    return documents, [" ".join(f"word{word}" for word in random.choice(drawn[row], 3)) for row in asked]


def cut(given: list[str]) -> list[list[str]]:
    """Words as `BM25` cuts them."""
    normalize = UnicodeFold()
    return [words_in(normalize(text)) for text in given]


def bm25s_index(documents: list[list[str]]) -> Any:
    """The index of bm25s by itself."""
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index(documents, show_progress=False)
    return index


def check(own: BM25, other: Any, queries: list[str]) -> None:
    """Both find documents of the same scores.

    Raises:
        RuntimeError: where they do not.
    """
    theirs = other.retrieve(cut(queries), k=K, show_progress=False).scores
    for found, expected in zip(own.scores(queries, K), theirs.tolist(), strict=True):
        positive = [score for score in expected if score > 0]
        if not np.allclose(list(found.values()), positive, rtol=1e-5):
            raise RuntimeError(f"simlearn found the scores {list(found.values())}, bm25s {expected}")


def seconds(cases: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The least CPU seconds of each, taken in turns."""
    least = dict.fromkeys(cases, float("inf"))
    for _ in range(repeats):
        for name, run in cases.items():
            start = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - start)
    return least


def cases(documents: list[str], queries: list[str]) -> dict[str, dict[str, Callable[[], Any]]]:
    """By what is done: cutting texts into words, the work of bm25s on these, and simlearn's on texts."""
    words, asked = cut(documents), cut(queries)
    own, other = BM25(documents), bm25s_index(words)
    check(own, other, queries)
    return {
        "index": {
            "cutting": lambda: cut(documents),
            "bm25s": lambda: bm25s_index(words),
            "simlearn": lambda: BM25(documents),
        },
        "search": {
            "cutting": lambda: cut(queries),
            "bm25s": lambda: other.retrieve(asked, k=K, show_progress=False),
            "simlearn": lambda: own.search(queries, K),
        },
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="few documents, to see that it runs")
    arguments = parser.parse_args()
    sizes = [(500, 20, 12, 1000)] if arguments.tiny else [(50_000, 1000, 12, 30_000), (20_000, 1000, 120, 100_000)]
    print(f"bm25s {bm25s.__version__}, numpy {np.__version__}, k = {K}; a search should take {TARGET} times at most")
    print("| what | documents | words each | queries | cutting | bm25s | simlearn | / both | / bm25s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for n_documents, n_queries, length, n_words in sizes:
        for name, runs in cases(*texts(n_documents, n_queries, length, n_words)).items():
            least = seconds(runs, repeats=5)
            cutting, alone, own = least["cutting"], least["bm25s"], least["simlearn"]
            print(
                f"| {name} | {n_documents} | {length} | {n_queries} | {cutting:.3f} | {alone:.3f} | {own:.3f} | "
                f"{own / (cutting + alone):.2f} | {own / alone:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
