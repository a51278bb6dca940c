"""Rows of a table as its files hold them: read through memory maps, written behind those that are committed.

===================  =============================================================================================
`vectors/`           all vectors (T, D), as `mmap_ninja.np_open_existing` opens them (bfloat16 as 16-bit integers)
`offsets`            where many vectors an object are kept: int64 (rows + 1), the first vector of each row, and T
`keys`               (rows, 16) bytes
`checksums`          uint64 (rows,)
`meta/<column>`      (rows,) numbers; of a column of names, int32 places in the list that `commit.json` holds
===================  =============================================================================================

All numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.files import locked, replace_file, sync, write_at
from simlearn.files.mapping import map_array, tensor_over
from simlearn.meta import Categories, Meta
from simlearn.ragged import Ragged, pad, positions
from simlearn.store.checksums import Checksums, checksums
from simlearn.store.commit import Commit, Layout, stored_dtype
from simlearn.store.table import KEY_SIZE

VALUES = "vectors/data.ninja"

CURE = "simlearn.cache.verify(path, repair=True) keeps the rows that are whole, the others are encoded again"


@dataclass(frozen=True)
class Block:
    """Some rows as they are on disk.

    Args:
        keys: (n, 16) uint8.
        values: (T, D), their vectors.
        lengths: (n,) int64, how many of them each row has; None for one each.
        meta: columns (n,) of numbers by name.
    """

    keys: NDArray[np.uint8]
    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    meta: dict[str, NDArray[Any]]

    def checksums(self) -> Checksums:
        """Of each row."""
        return checksums(self.keys, self.values, self.lengths, [self.meta[name] for name in sorted(self.meta)])

    def take(self, rows: NDArray[np.int64]) -> Block:
        """The given rows, in that order."""
        meta = {name: column[rows] for name, column in self.meta.items()}
        if self.lengths is None:
            return Block(self.keys[rows], self.values[rows], None, meta)
        ends = self.lengths.cumsum()
        lengths = self.lengths[rows]
        return Block(self.keys[rows], self.values[_spread(ends[rows] - lengths, lengths)], lengths, meta)


class MappedRows:
    """The committed rows of a folder, mapped into memory: what is not read takes none.

    Args:
        folder: of the table.
        commit: how many rows there are, and their layout.
        at_random: whether they are read in any order; else the system reads ahead.

    Raises:
        LoadError: when a file is missing or shorter than what was committed.
    """

    def __init__(self, folder: Path, commit: Commit, *, at_random: bool = True) -> None:
        self.commit = commit
        self.keys = _mapped(folder / "keys", np.dtype(np.uint8), (commit.rows, KEY_SIZE))
        self.checksums = _mapped(folder / "checksums", np.dtype(np.uint64), (commit.rows,))
        self._values: NDArray[Any] = np.empty((0, 0))
        self._offsets: NDArray[np.int64] | None = None
        self._meta: dict[str, NDArray[Any]] = {}
        if (layout := commit.layout) is None:
            return
        shape = (commit.vectors, layout.width)
        self._values = _mapped(folder / VALUES, stored_dtype(layout.dtype), shape, at_random=at_random)
        self.vectors = tensor_over(self._values).view(layout.dtype)
        if layout.many:
            bounds = commit.rows + 1 if commit.rows else 0
            self._offsets = _mapped(folder / "offsets", np.dtype(np.int64), (bounds,))
        for name, column in layout.meta.items():
            self._meta[name] = _mapped(folder / "meta" / name, stored_dtype(column.dtype), (commit.rows,))

    def take(self, rows: Tensor) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of the given rows (n,), which are not verified."""
        if self.commit.layout is None:
            raise ValueError("the table is empty; fill it before it is read")
        meta: Meta = {}
        for name, column in self.commit.layout.meta.items():
            numbers = tensor_over(self._meta[name]).view(column.dtype).index_select(0, rows)
            meta[name] = numbers if column.names is None else Categories(numbers.long(), column.names)
        if self._offsets is None:
            return Embeddings(self.vectors.index_select(0, rows)), meta
        return pad(self.vectors, *self._bounds(self._offsets, rows)), meta

    def take_lists(self, rows: Tensor) -> Ragged:
        """The vectors of the given rows (n,), which are not verified, end to end: nothing is padded.

        Raises:
            ValueError: where each object has one vector.
        """
        if self._offsets is None:
            raise ValueError("each object has one vector here; take() gives them")
        starts, lengths = self._bounds(self._offsets, rows)
        return Ragged.of_lengths(self.vectors.index_select(0, positions(starts, lengths)), lengths)

    @staticmethod
    def _bounds(offsets: NDArray[np.int64], rows: Tensor) -> tuple[Tensor, Tensor]:
        starts = torch.from_numpy(offsets[rows.numpy()])
        return starts, torch.from_numpy(offsets[rows.numpy() + 1]) - starts

    def damaged(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the given rows (n,) are not what was written."""
        wrong = np.zeros(len(rows), bool)
        if self._offsets is not None:  # first of all: a wrong one may ask for more vectors than fit into memory
            starts, ends = self._offsets[rows], self._offsets[rows + 1]
            wrong = (starts < 0) | (ends < starts) | (ends > self.commit.vectors)
            wrong |= ends - starts > self.commit.longest
        sound = np.flatnonzero(~wrong)
        wrong[sound] = self.block(rows[sound]).checksums() != self.checksums[rows[sound]]
        return wrong

    def block(self, rows: NDArray[np.int64]) -> Block:
        """A copy of the given rows."""
        meta = {name: column[rows] for name, column in self._meta.items()}
        if self._offsets is None:
            return Block(self.keys[rows], self._values[rows], None, meta)
        starts = self._offsets[rows]
        lengths = self._offsets[rows + 1] - starts
        return Block(self.keys[rows], self._values[_spread(starts, lengths)], lengths, meta)

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """All rows, so many at once as take some megabytes."""
        rows = self.commit.rows
        at_once = max(1, (rows << 24) // max(1, self._values.nbytes))
        for start in range(0, rows, at_once):
            yield np.arange(start, min(start + at_once, rows))


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, at_random: bool = False) -> NDArray[Any]:
    return map_array(path, dtype, shape, cure=CURE, at_random=at_random)


def open_rows(folder: Path) -> MappedRows:
    """The rows that are committed now.

    Raises:
        LoadError: when something is missing or damaged.
    """
    while True:
        commit = Commit.read(folder)
        failure: Exception | None = None
        try:
            rows = MappedRows(folder, commit)
        except ValueError as error:
            failure = error
        if Commit.read(folder).generation != commit.generation:
            continue  # the folder was exchanged for a rewritten one between two of its files
        if failure is not None:
            raise failure
        return rows


def append_block(folder: Path, commit: Commit, block: Block, layout: Layout) -> Commit:
    """Write rows behind the committed ones, and commit them. The folder must be locked.

    Returns:
        The new commit.

    Raises:
        OSError: when the disk is full; the rows of before are still there.
    """
    longest = 1 if block.lengths is None else int(block.lengths.max(initial=0))
    grown = commit.grown(len(block.keys), len(block.values), longest, layout)
    pieces: list[tuple[str, int, NDArray[Any]]] = [
        (VALUES, commit.vectors, block.values),
        ("keys", commit.rows, block.keys),
        ("checksums", commit.rows, block.checksums()),
        *((f"meta/{name}", commit.rows, column) for name, column in block.meta.items()),
    ]
    if block.lengths is not None:
        ends = block.lengths.cumsum() + commit.vectors
        pieces.append(("offsets", commit.rows + 1, ends) if commit.rows else ("offsets", 0, np.append(0, ends)))
    try:
        if commit.layout is None:
            _describe(folder, grown, layout)
        for name, place, data in pieces:
            write_at(folder / name, place * _stride(data), _bytes(data))
        if commit.layout is None:
            for inner in ("vectors", "meta", "."):
                sync(folder / inner)
    except OSError as error:
        for name, place, data in pieces:  # give the room back
            with suppress(OSError):
                os.truncate(folder / name, place * _stride(data))
        raise _full(folder, commit, error) from error
    try:
        grown.write(folder)
        _describe(folder, grown, layout)
    except OSError as error:
        raise _full(folder, commit, error) from error
    return grown


def _bytes(rows: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data


def _stride(rows: NDArray[Any]) -> int:
    return int(np.prod(rows.shape[1:])) * rows.dtype.itemsize


def describe_vectors(folder: Path) -> None:
    """Bring what mmap-ninja reads up to date: a killed process may have committed without having come to it."""
    commit = Commit.read(folder)
    if commit.layout is None or not _outdated(folder, commit, commit.layout):
        return
    with suppress(OSError), locked(folder):  # who may only read leaves it to those who may write
        commit = Commit.read(folder)
        if commit.layout is not None:
            _describe(folder, commit, commit.layout)


def _describe(folder: Path, commit: Commit, layout: Layout) -> None:
    for inner in ("vectors", "meta"):
        (folder / inner).mkdir(exist_ok=True)
    for path, content in _outdated(folder, commit, layout).items():
        replace_file(path, content)


def _outdated(folder: Path, commit: Commit, layout: Layout) -> dict[Path, bytes]:
    """The small files of mmap-ninja's format that say something else than the commit, and what they should say."""
    right = {
        "type.ninja": b"numpy",
        "order.ninja": b"C",
        "dtype.ninja": stored_dtype(layout.dtype).name.encode(),
        "shape.ninja": struct.pack("<QQ", commit.vectors, layout.width),
    }
    files = {folder / "vectors" / name: content for name, content in right.items()}
    return {path: content for path, content in files.items() if not path.is_file() or path.read_bytes() != content}


def whole_rows(folder: Path, commit: Commit) -> Commit:
    """The commit, cut to the rows that all files are long enough for."""
    layout = commit.layout
    if layout is None:
        return commit

    def holds(name: str, itemsize: int) -> int:
        path = folder / name
        return path.stat().st_size // max(1, itemsize) if path.is_file() else 0

    sizes = {"keys": KEY_SIZE, "checksums": 8, **{f"meta/{n}": c.dtype.itemsize for n, c in layout.meta.items()}}
    rows = min(commit.rows, *(holds(name, size) for name, size in sizes.items()))
    vectors = min(commit.vectors, holds(VALUES, layout.width * layout.dtype.itemsize))
    if not layout.many:
        rows = vectors = min(rows, vectors)
    else:  # rows whose vectors are gone fail their check
        rows = max(0, min(rows, holds("offsets", 8) - 1))
    return changed(commit, rows=rows, vectors=vectors)


def _spread(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of all vectors of rows that start at `starts` and have so many."""
    before = lengths.cumsum() - lengths
    places: NDArray[np.int64] = np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))
    return places


def _full(folder: Path, commit: Commit, error: OSError) -> OSError:
    return OSError(
        error.errno,
        f"cannot write to {folder}: {error.strerror}. Its {commit.rows} rows of before are safe: make room, or "
        "choose another folder, and run again",
    )
