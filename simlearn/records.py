"""Rows of Parquet, CSV and JSON-lines files, on this machine or elsewhere, read from any row on.

A row is a dictionary. Every file tells in which pieces it can be read, so that several processes share it and whoever
was interrupted goes on where he was:

=============  ============================  ==================================================================
Parquet        its row groups                each known by its number of rows; only the columns asked for are read
JSON lines     the file                      rows of others are passed over without being parsed
CSV            the file                      the first line names the columns; every value is a text
=============  ============================  ==================================================================
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any, Protocol, cast

from simlearn.files import LoadError

Row = dict[str, Any]

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""The package that reads a protocol, for those that fsspec does not bring along."""


def expand(paths: str | Sequence[str]) -> list[str]:
    """The files that paths and globs name, sorted, each once.

    Args:
        paths: one or several, as `"s3://bucket/part-*.parquet"`.

    Raises:
        FileNotFoundError: for a path or glob that names no file.
        ImportError: where the package for a protocol is missing, naming it.
    """
    found: set[str] = set()
    for path in [paths] if isinstance(paths, str) else [str(path) for path in paths]:
        files, root = _filesystem(path)
        names = files.glob(root) if any(sign in root for sign in "*?[") else [root] if files.exists(root) else []
        names = [name for name in names if files.isfile(name)]
        if not names:
            raise FileNotFoundError(f"{path} names no file; a folder is read with {path.rstrip('/')}/*.parquet")
        found.update(map(files.unstrip_protocol if "://" in path else str, names))
    return sorted(found)


class RecordFile(Protocol):
    """A file of rows."""

    path: str

    @property
    def columns(self) -> list[str]:
        """The names of its columns; of JSON lines those of the first row."""
        ...

    @property
    def groups(self) -> list[int | None]:
        """The number of rows of each piece that is read by itself; None where only reading tells."""
        ...

    def read(self, group: int, columns: Sequence[str], start: int, step: int) -> Iterator[Row]:
        """Rows `start`, `start + step`, ... of a piece, with these columns."""
        ...


def open_records(path: str) -> RecordFile:
    """A file of rows, by the end of its name.

    Raises:
        ValueError: for another kind of file.
    """
    name = path.removesuffix(".gz")
    for ends, kind in ((".parquet", _Parquet), (".csv", _Csv), (".jsonl", _JsonLines), (".json", _JsonLines)):
        if name.endswith(ends) and not (kind is _Parquet and name != path):
            return kind(path)
    raise ValueError(
        f"{path}: rows are read from .parquet, .csv, .jsonl and .json (JSON lines), the last three also .gz"
    )


def read_records(paths: str | Sequence[str], columns: Sequence[str] | None = None) -> Iterator[Row]:
    """All rows of some files, one file after the other.

    Args:
        paths: see `expand`.
        columns: those that are read; None for all.

    Raises:
        LoadError: for what cannot be read, naming file and row, and for a column that a file lacks.
    """
    for path in expand(paths):
        file = open_records(path)
        for group in range(len(file.groups)):
            yield from file.read(group, file.columns if columns is None else columns, 0, 1)


class _Parquet:
    def __init__(self, path: str) -> None:
        self.path = path
        self._open: tuple[int, Any] | None = None
        with self._opened() as file:
            self.columns: list[str] = list(file.schema_arrow.names)
            sizes = [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]
        self.groups: list[int | None] = sizes

    def read(self, group: int, columns: Sequence[str], start: int, step: int) -> Iterator[Row]:
        check_columns(self.path, columns, self.columns)
        if self._open is None or self._open[0] != os.getpid():  # two processes would read at one place of an open file
            self._open = os.getpid(), self._opened()
        try:
            table = self._open[1].read_row_group(group, columns=list(columns))
        except (OSError, ValueError) as error:  # pyarrow's errors are of these two kinds
            raise LoadError(f"{self.path}, row group {group}, cannot be read: {error}") from None
        values = [table.column(name).to_pylist()[start::step] for name in columns]
        return (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))

    def _opened(self) -> Any:
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise ImportError("reading Parquet needs pyarrow: pip install simlearn[data]") from None
        files, root = _filesystem(self.path)
        try:
            return ParquetFile(files.open(root, "rb"))
        except (OSError, ValueError) as error:
            raise LoadError(f"{self.path} cannot be read: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


@dataclass
class _JsonLines:
    path: str

    @cached_property
    def columns(self) -> list[str]:
        first = next(self._lines(), None)
        return [] if first is None else list(self._row(0, first))

    @cached_property
    def groups(self) -> list[int | None]:
        return [None]

    def read(self, group: int, columns: Sequence[str], start: int, step: int) -> Iterator[Row]:
        for number, line in enumerate(self._lines()):
            if number < start or (number - start) % step:
                continue
            row = self._row(number, line)
            try:
                yield {name: row[name] for name in columns}
            except KeyError:
                check_columns(f"{self.path}, row {number}", columns, list(row))

    def _row(self, number: int, line: str) -> Row:
        try:
            row = json.loads(line)
            if isinstance(row, dict):
                return row
            error: Exception | str = f"a {type(row).__name__}, where an object is needed"
        except (ValueError, RecursionError) as problem:
            error = problem
        raise LoadError(f"{self.path}, row {number}, is no line of JSON: {error}") from None

    def _lines(self) -> Iterator[str]:
        for line in _text_lines(self.path):
            if line.strip():
                yield line


@dataclass
class _Csv:
    path: str

    @cached_property
    def columns(self) -> list[str]:
        return next(self._rows(), [])

    @cached_property
    def groups(self) -> list[int | None]:
        return [None]

    def read(self, group: int, columns: Sequence[str], start: int, step: int) -> Iterator[Row]:
        check_columns(self.path, columns, self.columns)
        names = self.columns
        places = [names.index(name) for name in columns]
        rows = self._rows()
        next(rows, None)
        for number, row in enumerate(rows):
            if number < start or (number - start) % step:
                continue
            if len(row) != len(names):
                raise LoadError(f"{self.path}, row {number}, has {len(row)} values, the first line {len(names)} names")
            yield {name: row[place] for name, place in zip(columns, places, strict=True)}

    def _rows(self) -> Iterator[list[str]]:
        number = -1
        try:
            for number, row in enumerate(csv.reader(_text_lines(self.path), strict=True)):  # noqa: B007
                if row:
                    yield row
        except csv.Error as error:
            raise LoadError(f"{self.path}, row {number}, cannot be read: {error}") from None


def check_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuse columns that a file lacks.

    Raises:
        LoadError: naming them and those that are there.
    """
    if missing := [name for name in wanted if name not in there]:
        listed = ", ".join(map(repr, there)) or "none"
        raise LoadError(f"{where} has no column {', '.join(map(repr, missing))}; there are {listed}")


def _text_lines(path: str) -> Iterator[str]:
    number = 0
    files, root = _filesystem(path)
    try:
        with files.open(root, "rb") as raw, _text(raw, path.endswith(".gz")) as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007
                yield line
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise LoadError(f"{path} cannot be read behind line {number}: {error}") from None


def _text(raw: IO[bytes], zipped: bool) -> io.TextIOWrapper:
    plain = gzip.GzipFile(fileobj=raw) if zipped else raw
    return io.TextIOWrapper(cast(IO[bytes], plain), encoding="utf-8-sig", newline="")


def _filesystem(path: str) -> tuple[Any, str]:
    """What reads a path, and the path as that calls it."""
    try:
        import fsspec
    except ImportError:
        raise ImportError("reading files needs fsspec: pip install simlearn[data]") from None
    protocol = path.partition("://")[0] if "://" in path else ""
    try:
        files, root = fsspec.core.url_to_fs(path)
    except ImportError:
        needed = _PACKAGES.get(protocol, "a package of its own")
        raise ImportError(f"{path}: reading {protocol}:// needs {needed}: pip install {needed}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return files, root
