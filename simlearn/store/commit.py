"""How many rows of a table on disk count, and how they are laid out: its one truth, `commit.json`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simlearn.files import LoadError, check_name, read_sealed, write_sealed
from simlearn.meta import Categories, Meta

COMMIT_FILE = "commit.json"
STORE_FILE = "store.json"

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
    + (torch.int8, torch.uint8, torch.bool)
}


def stored_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """How numpy sees what is on disk; it has no bfloat16, whose words it takes for integers."""
    name = "int16" if dtype is torch.bfloat16 else str(dtype).removeprefix("torch.")
    return np.dtype(name)


@dataclass(frozen=True)
class MetaColumn:
    """A column of meta on disk.

    Args:
        dtype: of its numbers.
        names: of a column of names, those that its numbers stand for; None for a column of numbers.
    """

    dtype: torch.dtype
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Layout:
    """What all rows of a table have in common.

    Args:
        dtype: of the vectors.
        width: length of a vector.
        many: whether an object has many vectors.
        meta: its columns by name, ascending.
    """

    dtype: torch.dtype
    width: int
    many: bool
    meta: dict[str, MetaColumn]

    @staticmethod
    def of(dtype: torch.dtype, width: int, many: bool, meta: Meta) -> Layout:
        """The layout of a table whose first rows these are.

        Raises:
            ValueError: for a dtype that no table keeps, or a meta column whose name cannot be that of a file.
        """
        for kept in (dtype, *(column.dtype for column in meta.values() if isinstance(column, torch.Tensor))):
            if kept not in _DTYPES.values():
                raise ValueError(f"a table keeps numbers of {sorted(_DTYPES)}, not {kept}")
        described = {
            check_name(name, "meta column"): MetaColumn(torch.int32, ())
            if isinstance(column, Categories)
            else MetaColumn(column.dtype)
            for name, column in sorted(meta.items())
        }
        return Layout(dtype, width, many, described)

    def check(self, other: Layout) -> None:
        """Refuse rows that are laid out in another way.

        Raises:
            ValueError: naming both.
        """
        if self.kind() != other.kind():
            raise ValueError(
                f"the table holds {self.kind()}, got {other.kind()}; give each encoder its own table, and name the "
                "dtype when its vectors are kept in another one than its own"
            )

    def kind(self) -> str:
        """The layout in words."""
        meta = {
            name: "names" if column.names is not None else str(column.dtype).removeprefix("torch.")
            for name, column in self.meta.items()
        }
        vectors = "many vectors" if self.many else "one vector"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{vectors} an object of size {self.width} and {dtype}" + (f", with meta {meta}" if meta else "")

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        meta = {
            name: {"dtype": str(column.dtype).removeprefix("torch.")}
            | ({} if column.names is None else {"names": list(column.names)})
            for name, column in self.meta.items()
        }
        name = str(self.dtype).removeprefix("torch.")
        return {"dtype": name, "width": self.width, "many_vectors": self.many, "meta": meta}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Layout:
        """Read what `to_json` wrote."""
        meta = {
            check_name(name, "meta column"): MetaColumn(
                _DTYPES[column["dtype"]], tuple(column["names"]) if "names" in column else None
            )
            for name, column in content["meta"].items()
        }
        return Layout(_DTYPES[content["dtype"]], int(content["width"]), bool(content["many_vectors"]), meta)


@dataclass(frozen=True)
class Commit:
    """What of a table's files counts; whatever lies behind it was never committed, and is written over.

    Args:
        generation: changes when rows change their numbers.
        rows: how many there are.
        vectors: how many there are; as many as rows where an object has one.
        longest: the most vectors that a row has.
        layout: of the rows; None before the first.
    """

    generation: str
    rows: int = 0
    vectors: int = 0
    longest: int = 0
    layout: Layout | None = None

    def grown(self, rows: int, vectors: int, longest: int, layout: Layout) -> Commit:
        """With more rows, of so many vectors, the longest row of which has `longest`."""
        return replace(
            self,
            rows=self.rows + rows,
            vectors=self.vectors + vectors,
            longest=max(self.longest, longest),
            layout=layout,
        )

    def write(self, folder: Path) -> None:
        """Make it the truth, in one step."""
        layout = None if self.layout is None else self.layout.to_json()
        content = {"generation": self.generation, "rows": self.rows, "vectors": self.vectors}
        write_sealed(folder / COMMIT_FILE, {**content, "longest": self.longest, "layout": layout})

    @staticmethod
    def read(folder: Path) -> Commit:
        """The commit of a folder.

        Raises:
            LoadError: when it is missing, damaged, or written by a newer simlearn.
        """
        content = read_sealed(folder / COMMIT_FILE)
        try:
            layout = None if content["layout"] is None else Layout.from_json(content["layout"])
            rows, vectors, longest = (int(content[name]) for name in ("rows", "vectors", "longest"))
            return Commit(content["generation"], rows, vectors, longest, layout)
        except (KeyError, TypeError, ValueError) as error:
            raise LoadError(f"{folder / COMMIT_FILE} is no commit of a table: {error!r}") from None
