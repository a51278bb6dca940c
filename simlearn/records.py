"""Rows of Parquet, CSV and JSON-lines files, on this machine or elsewhere.

A row is a dictionary. Of Parquet only the columns asked for are read, a row group at a time. Of CSV the first line
names the columns, and every value is a text. CSV and JSON lines may be compressed (`.gz`).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, cast

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


def read_records(paths: str | Sequence[str], columns: Sequence[str] | None = None) -> Iterator[Row]:
    """All rows of some files, one file after the other.

    Args:
        paths: see `expand`.
        columns: those that are read; None for all, of JSON lines those of the first row.

    Raises:
        LoadError: for what cannot be read, naming file and row, and for a column that a file lacks.
        ValueError: for another kind of file.
    """
    for path in expand(paths):
        yield from _reader(path)(path, columns)


def _reader(path: str) -> Callable[[str, Sequence[str] | None], Iterator[Row]]:
    """What reads a file, by the end of its name."""
    if path.endswith(".parquet"):
        return _read_parquet
    name = path.removesuffix(".gz")
    if name.endswith(".csv"):
        return _read_csv
    if name.endswith((".jsonl", ".json")):
        return _read_json_lines
    raise ValueError(
        f"{path}: rows are read from .parquet, .csv, .jsonl and .json (JSON lines), the last three also .gz"
    )


def _read_parquet(path: str, columns: Sequence[str] | None) -> Iterator[Row]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ImportError("reading Parquet needs pyarrow: pip install simlearn[data]") from None
    files, root = _filesystem(path)
    try:
        opened = ParquetFile(files.open(root, "rb"))
    except (OSError, ValueError) as error:  # pyarrow's errors are of these two kinds
        raise LoadError(f"{path} cannot be read: {error}") from None
    with opened as file:
        there = list(file.schema_arrow.names)
        names = there if columns is None else columns
        check_columns(path, names, there)
        for group in range(file.metadata.num_row_groups):
            try:
                table = file.read_row_group(group, columns=list(names))
            except (OSError, ValueError) as error:
                raise LoadError(f"{path}, row group {group}, cannot be read: {error}") from None
            values = [table.column(name).to_pylist() for name in names]
            yield from (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def _read_json_lines(path: str, columns: Sequence[str] | None) -> Iterator[Row]:
    for number, line in enumerate(line for line in _text_lines(path) if line.strip()):
        row = _json_row(path, number, line)
        columns = list(row) if columns is None else columns
        try:
            yield {name: row[name] for name in columns}
        except KeyError:
            check_columns(f"{path}, row {number}", columns, list(row))


def _json_row(path: str, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
        if isinstance(row, dict):
            return row
        error: Exception | str = f"a {type(row).__name__}, where an object is needed"
    except (ValueError, RecursionError) as problem:
        error = problem
    raise LoadError(f"{path}, row {number}, is no line of JSON: {error}") from None


def _read_csv(path: str, columns: Sequence[str] | None) -> Iterator[Row]:
    rows = _csv_rows(path)
    there = next(rows, [])
    names = there if columns is None else columns
    check_columns(path, names, there)
    places = [there.index(name) for name in names]
    for number, row in enumerate(rows):
        if len(row) != len(there):
            raise LoadError(f"{path}, row {number}, has {len(row)} values, the first line {len(there)} names")
        yield {name: row[place] for name, place in zip(names, places, strict=True)}


def _csv_rows(path: str) -> Iterator[list[str]]:
    number = -1
    try:
        for number, row in enumerate(csv.reader(_text_lines(path), strict=True)):  # noqa: B007
            if row:
                yield row
    except csv.Error as error:
        raise LoadError(f"{path}, row {number}, cannot be read: {error}") from None


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
