"""The rows of a Parquet file, by row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

from simlearn.records.faults import Faults, check_columns
from simlearn.records.paths import filesystem

Row: TypeAlias = dict[str, Any]

_ROWS = 4096
"""Rows of a row group that are Python objects at once: they take many times the memory of Arrow's columns."""


class ParquetRows:
    """A Parquet file, of which its footer is read at once.

    Args:
        path: see `expand`.
        columns: those that are read; None for all.

    Raises:
        LoadError: for a file that cannot be read, and for columns that it lacks.
    """

    def __init__(self, path: str, columns: Sequence[str] | None = None) -> None:
        self.path = path
        with Faults().at(path), self._opened() as file:
            there = list(file.schema_arrow.names)
            self.columns = there if columns is None else list(columns)
            check_columns(path, self.columns, there)
            self.group_sizes = _group_sizes(file)
            """The number of rows of each row group."""

    def all_rows(self, faults: Faults) -> Iterator[Row]:
        """The rows in their order."""
        parts = [(group, 0, size) for group, size in enumerate(self.group_sizes)]
        return chain.from_iterable(self.blocks(parts, faults))

    def blocks(self, parts: Iterable[tuple[int, int, int]], faults: Faults) -> Iterator[list[Row]]:
        """Some rows, in lists of some thousands: to hand on each by itself would take as long as to read it.

        Args:
            parts: row groups, each with the first row that is wanted of it and the one behind the last.
            faults: what becomes of row groups and rows that cannot be read.

        Raises:
            LoadError: for these, naming file, row group and row; and for another file than it was.
        """
        with faults.at(self.path), self._opened() as file:
            if _group_sizes(file) != self.group_sizes:  # what is read would not be what was counted
                raise ValueError("it has other row groups than before; make the data set anew when files change")
            check_columns(self.path, self.columns, list(file.schema_arrow.names))
            for group, start, stop in parts:
                place = f"{self.path}, row group {group}"
                table: Any = None
                with faults.at(place):
                    table = file.read_row_group(group, columns=self.columns).slice(start, stop - start)
                for first in range(0, 0 if table is None else len(table), _ROWS):
                    yield _rows_of(table.slice(first, _ROWS), place, start + first, faults)

    def _opened(self) -> Any:
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise ImportError("reading Parquet needs pyarrow: pip install simlearn[data]") from None
        files, root = filesystem(self.path)
        if "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)):
            return ParquetFile(root)  # reads without Python's lock
        return ParquetFile(files.open(root, "rb"), pre_buffer=True)


def _group_sizes(file: Any) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]


def _rows_of(table: Any, place: str, first: int, faults: Faults) -> list[Row]:
    """The rows of a table as dictionaries; the first one has this number in its row group."""
    try:
        rows: list[Row] = table.to_pylist()
        return rows
    except (ImportError, MemoryError):
        raise
    except Exception:  # a text that is no UTF-8, a date that Python has not: somewhere in these rows
        rows = []
        for row in range(len(table)):
            with faults.at(f"{place}, row {first + row},"):
                rows += table.slice(row, 1).to_pylist()
        return rows
