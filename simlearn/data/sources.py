"""Where samples come from: data sets, streams, lists, pandas frames and Hugging Face rows, read by naming columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, fields
from typing import Any, TypeAlias

from torch.utils.data import Dataset, IterableDataset

from simlearn.data.kinds import KINDS, SampleKind
from simlearn.data.share import chunks

ColumnSpec: TypeAlias = "str | int | Sequence[str] | Callable[[Any], Any]"
"""A column of a row: its name, its place in a tuple, several names (a dictionary of them), or a function of the row."""

_RUN = 64
"""Rows read at once, from data sets that can."""


class SampleReader:
    """Turns what a data set holds into samples of one kind.

    Args:
        kind: the kind of samples.
        columns: which column of a row is which argument of the sample; empty for data sets of ready samples.

    Raises:
        ValueError: when some columns are named, and not all that a sample needs.
    """

    def __init__(self, kind: SampleKind, columns: Mapping[str, ColumnSpec]) -> None:
        self.kind = kind
        self.columns = dict(columns)
        needed = [one.name for one in fields(kind.sample) if one.default is MISSING]
        self._hint = ", ".join(f"{name}=" for name in needed)
        if columns and (missing := [name for name in needed if name not in columns]):
            raise ValueError(
                f"{kind.loader} needs the columns {self._hint} of the rows; {', '.join(missing)} is missing"
            )

    @property
    def names(self) -> list[str] | None:
        """The columns that are read; None where that cannot be told, as of a function of the row."""
        names: list[str] = []
        for spec in self.columns.values():
            for name in [spec] if callable(spec) or isinstance(spec, (str, int)) else spec:
                if not isinstance(name, str):
                    return None
                names.append(name)
        return list(dict.fromkeys(names)) or None

    def __call__(self, row: Any) -> Any:
        """The sample of a row.

        Raises:
            TypeError: for a sample of another kind, or a row without named columns.
            KeyError: for a column that the row lacks.
        """
        if self.columns:
            return self.kind.sample(**{name: read(row, spec) for name, spec in self.columns.items()})
        if isinstance(row, self.kind.sample):
            return row
        others = [kind.loader for kind in KINDS if isinstance(row, kind.sample)]
        cure = f"load it with {others[0]}" if others else f"name the columns of the rows: {self._hint}"
        raise TypeError(
            f"the data set of a {self.kind.loader} holds a {type(row).__name__} where a {self.kind.sample.__name__} is "
            f"needed; {cure}"
        )

    def value(self, row: Any, argument: str) -> Any:
        """One argument of the sample of a row; the other columns are not read."""
        spec = self.columns.get(argument)
        return getattr(self(row), argument) if spec is None else read(row, spec)


def read(row: Any, spec: ColumnSpec) -> Any:
    """A column of a row.

    Raises:
        KeyError: for a column that the row lacks.
    """
    if callable(spec):
        return spec(row)
    if not isinstance(spec, (str, int)):
        return {name: read(row, name) for name in spec}
    if isinstance(row, Mapping):
        if spec not in row:
            raise KeyError(f"the row has no column {spec!r}, only {list(row)}")
        return row[spec]
    if isinstance(spec, str):
        if not hasattr(row, spec):
            raise KeyError(f"a {type(row).__name__} has no column {spec!r}; name it by its place, or pass a function")
        return getattr(row, spec)
    if not -len(row) <= spec < len(row):
        raise KeyError(f"the row has no column {spec}, only {len(row)} of them")
    return row[spec]


class MapSource(Dataset[Any]):
    """Samples by number.

    Args:
        data: what has `__getitem__` and `__len__`: a data set, a list, a pandas frame.
        reader: turns what it holds into samples.
    """

    def __init__(self, data: Any, reader: SampleReader) -> None:
        self.data: Any = _FrameRows(data, reader.columns) if _is_frame(data) else data
        self.reader = reader

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.reader(self._rows([int(index)])[0])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several samples at once, which is how torch's DataLoader asks for a batch."""
        return [self.reader(row) for row in self._rows([int(index) for index in indices])]

    def __iter__(self) -> Iterator[Any]:
        """All samples in order. Without it, Python would take an IndexError of the data set for its end."""
        return map(self.reader, self.rows())

    def values(self, argument: str) -> Iterable[Any]:
        """One argument of all samples, reading no more than that where the data has columns."""
        spec = self.reader.columns.get(argument)
        if isinstance(spec, (str, int)):
            if isinstance(self.data, _FrameRows):
                column: list[Any] = self.data.columns[spec]
                return column
            if spec in getattr(self.data, "column_names", ()):
                whole: Iterable[Any] = self.data[spec][:]
                return whole
        return (self.reader.value(row, argument) for row in self.rows())

    def rows(self) -> Iterator[Any]:
        """What the data set holds, in order, before samples are made of it."""
        # One after the other where nothing is gained by more: whoever stops early should not have read ahead.
        for run in chunks(range(len(self.data)), _RUN if self._reads_many else 1):
            yield from self._rows(run)

    @property
    def _reads_many(self) -> bool:
        return callable(getattr(self.data, "__getitems__", None))

    def _rows(self, indices: list[int]) -> list[Any]:
        try:
            # Hugging Face reads many rows several times faster than one by one.
            return list(self.data.__getitems__(indices)) if self._reads_many else [self.data[i] for i in indices]
        except StopIteration as error:  # would pass for the end of the epoch
            raise RuntimeError(f"{type(self.data).__name__} raised StopIteration for the samples {indices}") from error


class StreamSource:
    """Samples in the order in which a stream gives them.

    Args:
        data: an iterable that can be iterated anew for each epoch.
        reader: turns what it holds into samples.
    """

    def __init__(self, data: Iterable[Any], reader: SampleReader) -> None:
        self.data = data
        self.reader = reader

    def __iter__(self) -> Iterator[Any]:
        return map(self.reader, self.rows())

    def rows(self) -> Iterator[Any]:
        """What the stream gives, before samples are made of it."""
        return iter(self.data)

    def values(self, argument: str) -> Iterable[Any]:
        """One argument of all samples."""
        return (self.reader.value(row, argument) for row in self.rows())

    def set_epoch(self, epoch: int) -> None:
        """Tell the stream which epoch comes next, where it wants to know."""
        set_epoch = getattr(self.data, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)


def source_of(data: Any, reader: SampleReader) -> MapSource | StreamSource:
    """Read any kind of data.

    Raises:
        TypeError: for what can be read only once, in no certain order, or not at all.
    """
    if hasattr(data, "iloc") and not _is_frame(data):
        data = data.tolist()  # a pandas series, whose [] counts by label
    if isinstance(data, Set):
        raise TypeError(f"a {type(data).__name__} has another order in every process; sort it into a list")
    has_numbers = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, IterableDataset)
    if isinstance(data, (str, bytes, Mapping)) or not (has_numbers or hasattr(data, "__iter__")):
        raise TypeError(
            f"cannot read samples from a {type(data).__name__}; give a list, a frame, a Dataset with a length or an "
            "IterableDataset"
        )
    if has_numbers:
        return MapSource(data, reader)
    if iter(data) is iter(data):
        raise TypeError(
            f"a {type(data).__name__} that gives one iterator again and again can be read only once, and it is read "
            "every epoch; put it into a list, or write a torch.utils.data.IterableDataset whose __iter__ starts anew"
        )
    return StreamSource(data, reader)


def _is_frame(data: Any) -> bool:
    return hasattr(data, "iloc") and hasattr(data, "columns")


class _FrameRows:
    """The rows of a pandas frame as dictionaries of Python values; `iloc` would build a Series for every one."""

    def __init__(self, frame: Any, specs: Mapping[str, ColumnSpec]) -> None:
        names = list(frame.columns)
        if len(set(names)) < len(names):
            raise ValueError(f"the frame has several columns of one name: {names}; rename them")
        needed: set[Any] = set()
        for spec in specs.values():
            if callable(spec):
                needed.update(names)
            else:
                needed.update([spec] if isinstance(spec, (str, int)) else spec)
        if missing := needed.difference(names):
            raise KeyError(f"the frame has no column {missing.pop()!r}, only {names}")
        # Only these: a wide frame as Python values takes many times its memory.
        self.columns = {name: frame[name].tolist() for name in names if name in needed}
        self._size = len(frame)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict[Any, Any]:
        return {name: values[index] for name, values in self.columns.items()}
