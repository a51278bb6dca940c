"""The rows of a CSV or JSON-lines file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, TypeAlias, cast

from simlearn.files import LoadError
from simlearn.records.faults import Faults, check_columns
from simlearn.records.paths import filesystem

Row: TypeAlias = dict[str, Any]

_NO_TEXT = re.compile("[\udc80-\udcff]")
"""What stands for bytes that are no UTF-8."""


class TextRows:
    """A CSV or JSON-lines file. Where that tells the columns, its first line is read at once.

    Args:
        path: see `expand`.
        columns: those that are read; None for all, of JSON lines those of the first row.

    Raises:
        LoadError: for a file that cannot be read, and for columns that its first line lacks.
    """

    def __init__(self, path: str, columns: Sequence[str] | None = None) -> None:
        self.path = path
        name = filesystem(path)[1]
        self._is_zipped = name.endswith(".gz")
        self._is_csv = name.removesuffix(".gz").endswith(".csv")
        there = self._first() if self._is_csv or columns is None else []
        self.columns = there if columns is None else list(columns)
        self._header = there if self._is_csv else []
        if self._header:  # a file without one has no rows either
            check_columns(path, self.columns, there)
        self._places = [there.index(name) for name in self.columns] if self._header else []

    def check(self) -> None:
        """Look whether the first row has the columns.

        Raises:
            LoadError: where it lacks one, and for a file that cannot be read.
        """
        if there := self._first():
            check_columns(self.path, self.columns, there)

    def all_rows(self, faults: Faults) -> Iterator[Row]:
        """The rows in their order."""
        for one in self.unread(faults):
            with faults.at(self.path):
                yield one.read()

    def unread(self, faults: Faults) -> Iterator[UnreadRow]:
        """The rows as they are written: to pass over one costs little.

        Args:
            faults: what becomes of the rest of a file that cannot be read.

        Raises:
            LoadError: for that, naming the file and how much of it was read.
        """
        number = 0
        lines = self._csv_rows() if self._is_csv else self._json_lines()
        with faults.at(lambda: f"{self.path}, behind its first {number} rows,"):
            for number, line in enumerate(lines, 1):
                yield UnreadRow(self, number - 1, line)

    def parsed(self, number: int, line: Any) -> Row:
        """See `UnreadRow.read`."""
        place = f"{self.path}, row {number}"
        with Faults().at(f"{place},"):
            return self._of_csv(line) if self._is_csv else self._of_json(line, place)

    def _first(self) -> list[str]:
        """The names of the columns; none in an empty file."""
        with Faults().at(self.path):
            if self._is_csv:
                header = next(self._csv_rows(header=True), [])
                if isinstance(header, csv.Error) or _NO_TEXT.search("".join(header)):
                    raise ValueError("its first line is no UTF-8 text of names")
                return header
            line = next(self._json_lines(), None)
            return [] if line is None else list(_json_object(line, f"{self.path}, row 0"))

    def _csv_rows(self, header: bool = False) -> Iterator[list[str] | csv.Error]:
        """The rows; an error in the place of one that is no CSV, behind which others may be."""
        with self._lines() as lines:
            reader = csv.reader(lines, strict=True)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield error
                    continue
                if row and header:
                    yield row
                elif row and row != self._header:  # its columns may have changed their places
                    raise ValueError("it has another first line than before; make the data set anew when files change")
                header = header or bool(row)

    def _json_lines(self) -> Iterator[str]:
        with self._lines() as lines:
            yield from (line for line in lines if line.strip())

    def _of_csv(self, row: Any) -> Row:
        if isinstance(row, csv.Error):
            cure = "; take JSON lines or Parquet for longer texts, or raise csv.field_size_limit"
            raise ValueError(f"{row}{cure if 'field limit' in str(row) else ''}")
        if len(row) != len(self._header):
            raise ValueError(f"it has {len(row)} values, the first line {len(self._header)} names")
        values = [row[place] for place in self._places]
        if any(map(_NO_TEXT.search, values)):
            raise ValueError("it is no UTF-8")
        return dict(zip(self.columns, values, strict=True))

    def _of_json(self, line: Any, place: str) -> Row:
        row = _json_object(line, place)
        try:
            return {name: row[name] for name in self.columns}
        except KeyError:
            check_columns(place, self.columns, list(row))
            raise

    @contextmanager
    def _lines(self) -> Iterator[io.TextIOWrapper]:
        files, root = filesystem(self.path)
        with files.open(root, "rb") as raw:
            plain = gzip.GzipFile(fileobj=raw) if self._is_zipped else raw
            # A byte that is no UTF-8 spoils its own row, and not all those behind it.
            yield io.TextIOWrapper(cast(IO[bytes], plain), encoding="utf-8-sig", errors="surrogateescape", newline="")


class UnreadRow(NamedTuple):
    """A row as it is written.

    Args:
        file: where it comes from.
        number: its number there, from 0.
        line: what is written.
    """

    file: TextRows
    number: int
    line: Any

    def read(self) -> Row:
        """Its values.

        Raises:
            LoadError: where it cannot be read, naming file and row.
        """
        return self.file.parsed(self.number, self.line)


def _json_object(line: str, place: str) -> Row:
    try:
        row = json.loads(line)
        error: Exception | str = f"a {type(row).__name__}, where an object is needed"
        if isinstance(row, dict):
            if not _NO_TEXT.search(line):
                return row
            error = "it is no UTF-8"
    except (ValueError, RecursionError) as problem:
        error = problem
    raise LoadError(f"{place}, is no line of JSON: {error}") from None
