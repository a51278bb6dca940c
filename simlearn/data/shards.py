"""Data sets that are many files, read as they come and shuffled in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from simlearn.data.share import Share, chunks
from simlearn.records import Faults, ParquetRows, Row, TextRows, UnreadRow, expand, open_records, wanted_columns

OnError = Literal["raise", "skip"]

Item = TypeVar("Item")

_FOOTERS = 16
"""Files opened at once: far away, each costs a round trip."""


class ShardedDataset(IterableDataset[Row]):
    """Rows of many Parquet, CSV or JSON-lines files, as dictionaries.

    A loader of simlearn deals each row to one worker of one process: of Parquet files each reads row groups of its own,
    of text files every worker passes over the rows of the others without looking at them. In training the order is
    another one in each epoch: files are shuffled, row groups within them, and then rows within a buffer; it depends on
    `seed`, the epoch, and for Parquet on how many workers and processes there are. A worker holds one row group and one
    buffer at a time. After a restart in the middle of an epoch Parquet files are read from where it was left.

    By itself it gives all rows in the order of the files; in a torch `DataLoader`, each worker its share of them.

    Args:
        paths: one or several paths or globs, such as `"s3://bucket/part-*.parquet"`: anything that fsspec reads. Files
            are of one kind, `.parquet`, `.csv`, `.jsonl` or `.json` (JSON lines), of which the text ones may be `.gz`.
        columns: those that are read; None for all.
        shuffle_buffer: rows that are shuffled among each other, in training; 1 leaves rows in their order.
        seed: where the order comes from, 0 or more.
        on_error: `"skip"` leaves out files, row groups and rows that cannot be read, and warns of how many these were.

    Raises:
        FileNotFoundError: for a path that names no file.
        ImportError: where the package for a kind of file or a file system is missing, naming it.
        LoadError: for a file that cannot be read, or lacks a column.
        ValueError: for files of several kinds, Parquet files without any row, and options out of range.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        columns: Sequence[str] | None = None,
        *,
        shuffle_buffer: int = 10_000,
        seed: int = 0,
        on_error: OnError = "raise",
    ) -> None:
        if shuffle_buffer < 1 or seed < 0:
            raise ValueError(f"shuffle_buffer must be at least 1 and seed 0 or more, got {shuffle_buffer} and {seed}")
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.columns = wanted_columns(columns)
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        self.on_error = on_error
        self.paths = expand(paths)
        self._opened = self._open_all()

    def _open_all(self) -> list[ParquetRows] | list[TextRows]:
        faults = Faults(self.on_error == "skip")

        def opened(path: str) -> ParquetRows | TextRows | None:
            with faults.at(path):
                file = open_records(path, self.columns)
                if isinstance(file, TextRows) and not faults.skip:
                    file.check()
                return file
            return None

        with ThreadPoolExecutor(_FOOTERS) as pool:
            files = [file for file in pool.map(opened, self.paths) if file is not None]
        faults.report()
        parquet = [file for file in files if isinstance(file, ParquetRows)]
        text = [file for file in files if isinstance(file, TextRows)]
        if parquet and text:
            raise ValueError(f"{parquet[0].path} and {text[0].path} are of two kinds; make a data set of each")
        if not text and not any(sum(file.group_sizes) for file in parquet):
            raise ValueError(f"none of the {len(self.paths)} files, from {self.paths[0]} on, has a row")
        return parquet or text

    @property
    def count(self) -> int | None:
        """The number of rows, with those that will not be readable; None for text files."""
        if isinstance(self._opened[0], TextRows):
            return None
        return sum(sum(file.group_sizes) for file in self._opened if isinstance(file, ParquetRows))

    @property
    def skips(self) -> bool:
        """Whether rows that cannot be read are left out, so that there may be fewer than were counted."""
        return self.on_error == "skip"

    def __iter__(self) -> Iterator[Row]:
        info = get_worker_info()
        worker = Share() if info is None else Share(info.id, info.num_workers)
        if self.count is not None:
            return self.rows(worker.of(range(self.count)))
        own = islice(self.unread(), worker.rank, None, worker.world_size)
        return self.read(own)

    def to_memory(self) -> list[Row]:
        """All rows as a list, in the order of the files: for data that fits."""
        return list(self)

    def rows(self, part: range, epoch: int | None = None, start: int = 0) -> Iterator[Row]:
        """Some rows of Parquet files.

        Args:
            part: their places in an epoch's order; they are shuffled among themselves.
            epoch: in whose order; None for that of the files.
            start: how many of them to leave out at the beginning.

        Raises:
            LoadError: for what cannot be read, naming file, row group and row.
        """
        faults = Faults(self.skips)
        if epoch is None:
            yield from chain.from_iterable(self._blocks(part[start:], None, faults))
        else:
            run, more = divmod(start, self.shuffle_buffer)
            blocks = self._blocks(part[start - more :], epoch, faults)
            rows = chain.from_iterable(self._shuffled(blocks, (self.seed, epoch, 1, part.start), run))
            yield from islice(rows, more, None)
        faults.report()

    def unread(self, epoch: int | None = None) -> Iterator[UnreadRow]:
        """All rows of text files, as they are written.

        Args:
            epoch: in whose order; None for that of the files.

        Raises:
            LoadError: for a file whose rest cannot be read, naming it.
        """
        faults = Faults(self.skips)
        files = [file for file in self._files(epoch) if isinstance(file, TextRows)]
        rows = chain.from_iterable(file.unread(faults) for file in files)
        if epoch is not None:
            rows = chain.from_iterable(self._shuffled(chunks(rows, self.shuffle_buffer), (self.seed, epoch, 2)))
        yield from rows
        faults.report()

    def read(self, rows: Iterable[UnreadRow]) -> Iterator[Row]:
        """The values of rows of text files.

        Raises:
            LoadError: for one that cannot be read, naming file and row.
        """
        faults = Faults(self.skips)
        for row in rows:
            with faults.at(row.file.path):
                yield row.read()
        faults.report()

    def _shuffled(self, blocks: Iterable[list[Item]], seeds: tuple[int, ...], run: int = 0) -> Iterator[list[Item]]:
        """Runs of rows, each in another order, which depends on its number: so one can begin with any of them."""
        for number, chunk in enumerate(_runs(blocks, self.shuffle_buffer), run):
            order = np.random.default_rng((*seeds, number)).permutation(len(chunk))
            yield [chunk[place] for place in order.tolist()]

    def _files(self, epoch: int | None) -> list[ParquetRows | TextRows]:
        order = range(len(self._opened)) if epoch is None else _order(len(self._opened), self.seed, epoch)
        return [self._opened[place] for place in order]

    def _blocks(self, part: range, epoch: int | None, faults: Faults) -> Iterator[list[Row]]:
        """Rows of Parquet files at places in an epoch's order of files and row groups."""
        end = 0
        for number, file in enumerate(self._files(epoch)):
            if not isinstance(file, ParquetRows) or end >= part.stop:
                break
            groups = range(len(file.group_sizes))
            parts = []
            for group in groups if epoch is None else _order(len(groups), self.seed, epoch, number):
                start, end = end, end + file.group_sizes[group]
                if start < part.stop and end > part.start:
                    parts.append((group, max(part.start, start) - start, min(part.stop, end) - start))
            if parts:
                yield from file.blocks(parts, faults)


def _runs(blocks: Iterable[list[Item]], size: int) -> Iterator[list[Item]]:
    """The items of some lists in lists of `size`, the last one perhaps shorter."""
    run: list[Item] = []
    for block in blocks:
        while block:
            missing = size - len(run)
            run += block[:missing]
            block = block[missing:]
            if len(run) == size:
                yield run
                run = []
    if run:
        yield run


def _order(count: int, *seeds: int) -> list[int]:
    order: list[int] = np.random.default_rng(seeds).permutation(count).tolist()
    return order
