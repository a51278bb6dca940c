"""What does it cost to read rows from many Parquet files, beside pyarrow's own reading?

Clicks of four columns in 8 files of some row groups each. Once as pyarrow gives them: every row group, as a list of
dictionaries (`to_pylist`). Then as `ShardedDataset` gives them: in order, and as a loader's worker reads them in
training, files and row groups in random order and rows shuffled in a buffer. And as batches of samples that the loader
of pairs makes of them. Processor time of the best of some runs, and how much memory grows while they are read.

    python benchmarks/shards.py [--tiny]
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from simlearn import PairsSimilarityDataLoader, ShardedDataset

FILES, GROUP = 8, 20_000


def write(folder: Path, rows: int) -> list[Path]:
    draw = random.Random(0)
    words = ["".join(draw.choices("bdklmn", k=3)) + draw.choice("aeiou") for _ in range(2000)]
    paths = []
    for number in range(FILES):
        table = pa.table(
            {
                "query": [" ".join(draw.choices(words, k=3)) for _ in range(rows)],
                "title": [" ".join(draw.choices(words, k=7)) for _ in range(rows)],
                "category": [f"category {draw.randrange(50)}" for _ in range(rows)],
                "product": [draw.randrange(20_000) for _ in range(rows)],
                "not read": [draw.random() for _ in range(rows)],
            }
        )
        paths.append(folder / f"part-{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=GROUP)
    return paths


COLUMNS = ["query", "title", "category", "product"]


def by_pyarrow(paths: list[Path]) -> Iterable[object]:
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                yield from file.read_row_group(group, columns=COLUMNS).to_pylist()


def seconds(reads: dict[str, Callable[[], Iterable[object]]], runs: int) -> dict[str, tuple[float, int]]:
    """Of each way to read the least processor time of some runs, taken in turn, and how many things were read."""
    best = {name: (float("inf"), 0) for name in reads}
    for _ in range(runs):
        for name, read in reads.items():
            start = time.process_time()
            count = sum(1 for _ in read())
            best[name] = min(best[name], (time.process_time() - start, count))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="only see whether it runs")
    rows, runs = (300, 1) if parser.parse_args().tiny else (50_000, 7)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), rows)
        data = ShardedDataset(paths, COLUMNS)
        part = range(data.count or 0)
        loader = PairsSimilarityDataLoader(
            data, 1024, obj_a="query", obj_b=["title", "category"], obj_b_id="product", shuffle=True
        )
        sum(1 for _ in by_pyarrow(paths))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sum(1 for _ in data.rows(part, epoch=0))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        found = seconds(
            {
                "pyarrow, to_pylist": lambda: by_pyarrow(paths),
                "rows in order": lambda: data.rows(part),
                "rows shuffled": lambda: data.rows(part, epoch=0),
                "batches of the loader": lambda: loader,
            },
            runs,
        )
    print(f"{len(part)} rows of {len(COLUMNS)} columns in {FILES} files, row groups of {GROUP}")
    plain, _ = found["pyarrow, to_pylist"]
    for name, (taken, count) in found.items():
        if count != len(part) and name != "batches of the loader":
            raise RuntimeError(f"{name}: {count} rows of {len(part)}")
        print(f"{name:22s} {taken / len(part) * 1e6:6.2f} us a row, {taken / plain:5.2f} of pyarrow's")
    print(f"memory grew by {grown:.0f} MB beyond pyarrow's")


if __name__ == "__main__":
    main()
