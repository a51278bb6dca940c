"""Where samples come from: data sets, streams, lists, pandas frames and Hugging Face rows, read by naming columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch.utils.data import Dataset, IterableDataset

from simlearn.data.kinds import SampleKind

ColumnSpec: TypeAlias = "str | Sequence[str] | Callable[[Any], Any]"
"""A column of a row: its name, several names (a dictionary of them), or a function of the row."""


class SampleReader:
    """Turns what a data set holds into samples of one kind.

    Args:
        kind: the kind of samples.
        columns: which column of a row is which argument of the sample; empty for data sets of ready samples.
    """

    def __init__(self, kind: SampleKind, columns: Mapping[str, ColumnSpec]) -> None:
        self.kind = kind
        self.columns = dict(columns)

    def __call__(self, row: Any) -> Any:
        """The sample of a row.

        Raises:
            TypeError: for a sample of another kind, or a row without named columns.
            KeyError: for a column that the row lacks.
        """
        if isinstance(row, self.kind.sample):
            return row
        if not self.columns:
            raise TypeError(
                f"the data set holds a {type(row).__name__} where a {self.kind.sample.__name__} is needed; use the data "
                "loader for its kind of samples, or name the columns of the rows: "
                f"{', '.join(f'{name}=' for name in self.kind.sample.__dataclass_fields__)}"
            )
        return self.kind.sample(**{name: _read(row, spec) for name, spec in self.columns.items()})


def _read(row: Any, spec: ColumnSpec) -> Any:
    if callable(spec):
        return spec(row)
    if not isinstance(spec, str):
        return {name: _read(row, name) for name in spec}
    if isinstance(row, Mapping):
        if spec not in row:
            raise KeyError(f"the row has no column {spec!r}, only {sorted(map(str, row))}")
        return row[spec]
    return getattr(row, spec)


class MapSource(Dataset[Any]):
    """Samples by number.

    Args:
        data: what has `__getitem__` and `__len__`: a data set, a list, a pandas frame.
        reader: turns what it holds into samples.
    """

    def __init__(self, data: Any, reader: SampleReader) -> None:
        self.data = _FrameRows(data) if _is_frame(data) else data
        self.reader = reader

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return self.reader(self.data[int(index)])

    def __iter__(self) -> Iterator[Any]:
        """All samples in order. Defined because Python would otherwise take an IndexError of the data set for its end."""
        return (self[index] for index in range(len(self)))


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
        return (self.reader(row) for row in self.data)


def source_of(data: Any, reader: SampleReader) -> MapSource | StreamSource:
    """Read any kind of data.

    Raises:
        TypeError: for what can be read only once, or not at all.
    """
    if isinstance(data, IterableDataset):
        return StreamSource(data, reader)
    if isinstance(data, Iterator):
        raise TypeError(
            f"a {type(data).__name__} can be read only once, training reads it every epoch; put it into a list, or write a "
            "torch.utils.data.IterableDataset whose __iter__ starts anew"
        )
    if _is_frame(data) or (hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping)):
        return MapSource(data, reader)
    if hasattr(data, "__iter__") and not isinstance(data, (str, bytes, Mapping)):
        return StreamSource(data, reader)
    raise TypeError(f"cannot read samples from a {type(data).__name__}; give a Dataset, IterableDataset, list or frame")


def _is_frame(data: Any) -> bool:
    return hasattr(data, "iloc") and hasattr(data, "columns")


class _FrameRows:
    """The rows of a pandas frame as dictionaries of Python values; `iloc` would build a Series for every one."""

    def __init__(self, frame: Any) -> None:
        self.columns = {str(name): frame[name].tolist() for name in frame.columns}
        self.size = len(frame)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.columns.items()}
