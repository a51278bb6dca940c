"""Rows of Parquet, CSV and JSON-lines files, on this machine or elsewhere.

A row is a dictionary. Of Parquet only the columns asked for are read, a row group at a time. Of CSV the first line
names the columns, and every value is a text. CSV and JSON lines may be compressed (`.gz`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from simlearn.records.faults import Faults, wanted_columns
from simlearn.records.parquet import ParquetRows
from simlearn.records.paths import expand, filesystem
from simlearn.records.text import Row, TextRows, UnreadRow

__all__ = [
    "Faults",
    "ParquetRows",
    "Row",
    "TextRows",
    "UnreadRow",
    "expand",
    "open_records",
    "read_records",
    "wanted_columns",
]


def open_records(path: str, columns: Sequence[str] | None = None) -> ParquetRows | TextRows:
    """One file, opened as the end of its name says.

    Args:
        path: see `expand`.
        columns: those that are read; None for all, of JSON lines those of the first row.

    Raises:
        LoadError: for a file that cannot be read, and for columns that it lacks.
        ValueError: for another kind of file.
    """
    name = filesystem(path)[1]  # of chained URLs, `zip://a.csv::all.zip`, the file that is read in the end
    if name.endswith(".parquet"):
        return ParquetRows(path, columns)
    if name.removesuffix(".gz").endswith((".csv", ".jsonl", ".json")):
        return TextRows(path, columns)
    raise ValueError(
        f"{path}: rows are read from .parquet, .csv, .jsonl and .json (JSON lines), the last three also .gz"
    )


def read_records(paths: str | Path | Sequence[str | Path], columns: Sequence[str] | None = None) -> Iterator[Row]:
    """All rows of some files, one file after the other.

    Args:
        paths: see `expand`.
        columns: those that are read; None for all, of JSON lines those of the first row.

    Raises:
        LoadError: for what cannot be read, naming file and row, and for a column that a file lacks.
        ValueError: for another kind of file, and for an empty list of columns.
    """
    named = wanted_columns(columns)
    for path in expand(paths):
        yield from open_records(path, named).all_rows(Faults())
