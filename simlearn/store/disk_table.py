"""Embeddings kept on disk by the key of what was encoded: memory-mapped, shared by processes, safe against kills.

A folder is a table. Rows are written behind those that count, brought onto the disk, and made to count by replacing
`commit.json` in one step: whenever a process is killed, a table has the rows of its last commit, and what it wrote
behind them is written over. Writers take turns at a lock, and drop what another one has committed before them. Each row
has a checksum, which is looked at when a process first takes the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn import meta as columns
from simlearn.embeddings import Embeddings
from simlearn.files import InUse, LoadError, locked, read_sealed
from simlearn.meta import Meta
from simlearn.ragged import Ragged
from simlearn.store.commit import COMMIT_FILE, STORE_FILE, Commit
from simlearn.store.key_index import KeyIndex, all_found
from simlearn.store.mapped_rows import CURE, MappedRows, append_block, describe_vectors, open_rows
from simlearn.store.pending import Pending
from simlearn.store.table import Keys, as_keys
from simlearn.store.upkeep import damaged_rows, is_table, make, repair, rewrite
from simlearn.store.vector_table import check_counts


class DiskTable:
    """Rows of embeddings in a folder, each under the content key of its object; see `Table`.

    What is appended waits in memory for some megabytes or seconds before it is committed; `flush`, the end of a `with`
    block, and asking for its rows commit it at once. Several processes may fill and read one table, on one machine; on
    Windows, which lacks the lock, only one may fill it.

    Args:
        path: the folder.
        description: what the table holds and who computed it, as JSON can hold it; it is kept when the folder is made,
            and left as it is in one that exists, whose `identity` must be the same if it names one. None opens only a
            folder that exists.
        dtype: what vectors are kept in: torch.float16 and torch.bfloat16 take less room; None for the encoder's own.

    Raises:
        LoadError: when there is no table, or it is damaged, of another identity, or written by a newer simlearn.
        FileExistsError: when the folder holds something else.
        OSError: when it is missing and cannot be made. One that is there is read, also where nothing may be written.
        ValueError: when it keeps vectors in another dtype.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        description: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"vectors are kept in a floating-point dtype, not in {dtype}")
        self.path = Path(path).absolute()
        self.dtype = dtype
        if description is not None:
            make(self.path, description)
        elif not is_table(self.path):
            raise LoadError(f"{path} is no table of vectors: it has no {COMMIT_FILE}; a description makes a new one")
        self._open()

    def _open(self) -> None:
        self.description: dict[str, Any] = read_sealed(self.path / STORE_FILE)["description"]
        self._in_use = InUse(self.path / STORE_FILE)
        self._index = KeyIndex()
        self._verified: NDArray[np.bool_] = np.zeros(0, bool)
        self._pending = Pending(self.dtype)
        self._adopt(open_rows(self.path))
        layout = self._mapped.commit.layout
        if layout is not None and self.dtype not in (None, layout.dtype):
            raise ValueError(f"{self.path} keeps vectors in {layout.dtype}, not in {self.dtype}; use another folder")
        describe_vectors(self.path)

    def _adopt(self, mapped: MappedRows) -> None:
        self._mapped = mapped
        self._index.grow(mapped.keys)
        self._verified = np.concatenate([self._verified, np.zeros(len(mapped.keys) - len(self._verified), bool)])

    def __len__(self) -> int:
        """The number of committed rows that this process knows of; `refresh` looks for others."""
        return self._mapped.commit.rows

    def __enter__(self) -> DiskTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
            return
        with suppress(OSError, ValueError):  # what was encoded before an interrupt is kept; its own error goes on
            self.flush()

    def __getstate__(self) -> dict[str, Any]:
        self.flush()
        return {"path": self.path, "dtype": self.dtype, "generation": self._mapped.commit.generation}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.dtype = state["path"], state["dtype"]
        self._open()
        self._check_generation(state["generation"])

    def _check_generation(self, generation: str) -> None:
        if generation != self._mapped.commit.generation:
            raise LoadError(
                f"{self.path} was pruned or repaired while it was in use, its rows have other numbers now; run again"
            )

    @property
    def generation(self) -> str:
        """Changes when the table is rewritten, which numbers its rows anew."""
        return self._mapped.commit.generation

    @property
    def vectors(self) -> Tensor:
        """The committed vectors (T, D), mapped for reading them in order. They are not verified, and only to be read.

        Raises:
            ValueError: while the table is empty.
            LoadError: when the table was rewritten meanwhile, or files were cut short.
        """
        if self._mapped.commit.layout is None:
            raise ValueError("the table is empty; fill it before it is read")
        mapped = MappedRows(self.path, self._mapped.commit, at_random=False)
        self._check_generation(Commit.read(self.path).generation)
        return mapped.vectors

    def refresh(self) -> None:
        """Look for rows that other processes have committed.

        Raises:
            LoadError: when the table was rewritten meanwhile, or is damaged.
        """
        commit = Commit.read(self.path)
        if commit == self._mapped.commit:
            return
        self._check_generation(commit.generation)
        mapped = open_rows(self.path)
        self._check_generation(mapped.commit.generation)
        self._adopt(mapped)

    def missing(self, keys: Keys) -> NDArray[np.int64]:
        """Positions, ascending, of the keys that no process has committed and this one has not appended.

        Of a key that is there several times, the first.
        """
        keys = as_keys(keys)
        absent = self._absent(keys)
        if len(absent):
            self.refresh()
            absent = absent[self._absent(keys[absent])]
        return absent

    def _absent(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        absent = self._index.missing(keys)
        return absent[self._pending.index.missing(keys[absent])]

    def append(self, keys: Keys, embeddings: Embeddings, meta: Meta) -> None:
        """Add a row for each of n keys that the table lacks; see `Table.append`.

        Raises:
            ValueError: for embeddings or meta of another number than keys, of another kind than those before, or too
                large for the dtype.
            OSError: when the disk is full; what was committed before is safe.
        """
        keys = as_keys(keys)
        check_counts(len(keys), embeddings, meta)
        new = self._absent(keys)
        if len(new):
            kept = torch.from_numpy(new)
            embeddings = embeddings.take(kept.to(embeddings.device))
            self._pending.add(keys[new], embeddings, columns.index_select(meta, kept), self._mapped.commit.layout)
        if self._pending.is_due:
            self.flush()

    def flush(self) -> None:
        """Commit what was appended.

        Raises:
            OSError: when the disk is full; what was committed before is safe.
            LoadError: when the table was rewritten meanwhile, or is damaged.
        """
        if not len(self._pending):
            return
        with locked(self.path):
            self.refresh()
            commit = self._mapped.commit
            block, layout = self._pending.joined(commit.layout)
            new = self._index.missing(block.keys)
            if len(new):
                append_block(self.path, commit, block if len(new) == len(block.keys) else block.take(new), layout)
        self._pending = Pending(self.dtype)
        self.refresh()

    def find(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys, -1 for those that no process has committed and this one has not appended."""
        keys = as_keys(keys)
        found = self._index.find(keys)
        if (found < 0).any():
            self.flush()
            self.refresh()
            found = self._index.find(keys)
        return torch.from_numpy(found)

    def rows(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys.

        Raises:
            KeyError: for a key that no process has committed and this one has not appended.
        """
        return all_found(self.find(keys))

    def take(self, rows: Tensor, device: torch.device | str) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of the given rows, on `device`; see `Table.take`.

        Raises:
            LoadError: when a row is not what was written.
        """
        rows = rows.cpu()
        self._verify(rows.numpy())
        embeddings, meta = self._mapped.take(rows)
        return embeddings.to(device), columns.to(meta, device)

    def take_lists(self, rows: Tensor) -> Ragged:
        """The vectors of the given rows (n,), of many an object, end to end and not padded.

        Raises:
            ValueError: where each object has one vector.
            LoadError: when a row is not what was written.
        """
        self._verify(rows.numpy())
        return self._mapped.take_lists(rows)

    def _verify(self, rows: NDArray[np.int64]) -> None:
        """Look at the checksums of rows that this process takes for the first time."""
        if self._verified[rows].all():
            return
        fresh = np.unique(rows[~self._verified[rows]])
        damaged = fresh[self._mapped.damaged(fresh)]
        if len(damaged):
            raise LoadError(f"row {damaged[0]} of {self.path} is not what was written to it: {CURE}")
        self._verified[fresh] = True

    def verify(self) -> Tensor:
        """Read every committed row.

        Returns:
            The rows (n,) int64, ascending, that are not what was written.
        """
        self.refresh()
        return torch.from_numpy(damaged_rows(MappedRows(self.path, self._mapped.commit, at_random=False)))

    def rewrite(self, keep: Tensor) -> None:
        """Keep only some rows, in a new folder that takes the place of this one in one step; rows are numbered anew.

        Rows that are not what was written are dropped too.

        Args:
            keep: (rows,) bool; rows that were committed since are kept.

        Raises:
            ValueError: for a mask of another dtype, or for more rows than there are.
            OSError: when the disk is full; the table is as before.
        """
        self.flush()
        with locked(self.path):
            self.refresh()
            if keep.dtype is not torch.bool or keep.ndim != 1 or len(keep) > len(self):
                raise ValueError(f"keep must be (rows,) bool of at most {len(self)} rows, got {tuple(keep.shape)}")
            kept = np.ones(len(self), bool)
            kept[: len(keep)] = keep.cpu().numpy()
            rewrite(self.path, MappedRows(self.path, self._mapped.commit, at_random=False), kept)
        self._open()

    @staticmethod
    def repair(path: str | Path) -> int:
        """Drop the rows of a table that are not what was written, also where files were cut short.

        Returns:
            How many were dropped; their objects are encoded again when they are next needed.

        Raises:
            LoadError: when `commit.json` itself is damaged: the folder can only be removed.
        """
        return repair(Path(path).absolute())

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def describe(self) -> dict[str, Any]:
        """What the table holds, for people: as JSON can hold it."""
        commit = self._mapped.commit
        return {
            "path": str(self.path),
            "description": self.description,
            "rows": commit.rows,
            "vectors": commit.vectors,
            "layout": None if commit.layout is None else commit.layout.kind(),
            "bytes": self.size,
        }
