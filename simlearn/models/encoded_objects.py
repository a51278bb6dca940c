"""The embeddings of many objects in a folder, in the order of the objects.

==========  ===========================================================================================
`table/`    the vectors of distinct objects, by content key: see `simlearn.store`
`order/`    `rows.npy`, int64 (N,): which row of the table each object has; `order.json` says of what
==========  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.files import LoadError, read_sealed, temporary_folder, write_sealed
from simlearn.store import DiskTable

TABLE = "table"
ORDER = "order"
ORDER_FILE = "order.json"
_ROWS_FILE = "rows.npy"
_HEADER_BYTES = 128
_AT_ONCE = 1 << 20
"""Bytes hashed at once."""


class EncodedObjects:
    """The embeddings of N objects on disk, as `SimilarityModel.encode_to_disk` wrote them; read without the model.

    Equal objects share a row, so there may be fewer vectors than objects: object i has `vectors[rows[i]]`. `chunks`
    hands out embeddings in the objects' order, for whatever takes them piece by piece::

        documents = EncodedObjects("corpus")
        found = simlearn.search.top_k(queries, documents.chunks(), k=10)          # indices of objects
        for chunk in documents.chunks():
            index.add(chunk.values.float().numpy())                               # faiss: its ids are objects too

    What it read stays valid while more objects are encoded into the folder; open it again to see them.

    Args:
        path: the folder.

    Raises:
        LoadError: when nothing was encoded there to the end, or it is damaged, or was pruned or repaired since.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        if not (self.path / ORDER / ORDER_FILE).is_file():
            raise LoadError(
                f"{path} holds no encoded objects, or they were never encoded to the end: "
                "model.encode_to_disk(objects, path) goes on from what is there"
            )
        self._table = DiskTable(self.path / TABLE)
        self.rows = read_order(self.path, self._table.generation)
        self.description: dict[str, Any] = self._table.description

    @classmethod
    def from_mmap_ninja(
        cls,
        folder: str | Path,
        objects: Iterable[Any],
        path: str | Path | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> EncodedObjects:
        """Copy the vectors of a folder that the package mmap_ninja wrote, bit for bit, under the keys of their objects.

        Args:
            folder: floats (N, D); for many vectors an object (N, M, D), or ragged with (M, D) each.
            objects: N of them in the order of the vectors, or what tells each apart, such as its id. Equal ones keep
                the first one's vectors; those of the others must be the same but for rounding.
            path: a new folder for the copy; None for a temporary one, which ends with the process.
            dtype: what the copy is kept in; None for the folder's own.

        Raises:
            LoadError: for another folder, or a damaged one as far as it shows.
            ValueError: for another number of objects, or equal ones with different vectors.
            FileExistsError: when `path` holds something.
        """
        from simlearn.models.mmap_ninja_folders import read_folder  # which imports this module

        # Two below: a folder is written under the lock of the one above, and this process holds the temporary one's.
        place = Path(path) if path is not None else temporary_folder() / "copy" / "objects"
        read_folder(Path(folder), objects, place, dtype)
        return cls(place)

    def to_mmap_ninja(self, folder: str | Path) -> None:
        """Write the vectors in the order of the objects into a new folder of the package mmap_ninja.

        `mmap_ninja.np_open_existing(folder)` gives (N, D); for many vectors an object `mmap_ninja.RaggedMmap(folder)`
        gives (M, D) each. bfloat16, which numpy lacks, becomes float32.

        Raises:
            FileExistsError: when `folder` holds something.
        """
        from simlearn.models.mmap_ninja_folders import write_folder

        write_folder(self, Path(folder))

    def __len__(self) -> int:
        """N, the number of objects."""
        return len(self.rows)

    def __repr__(self) -> str:
        return f"EncodedObjects({str(self.path)!r}): {len(self)} objects, vectors of size {self.embedding_size}"

    def __reduce__(self) -> tuple[type[EncodedObjects], tuple[Path]]:
        return EncodedObjects, (self.path,)

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        return int(self.description["embedding_size"])

    @property
    def vectors(self) -> NDArray[Any]:
        """The vectors of distinct objects (rows, D), memory-mapped and not to be written to.

        In the order of the objects where all of them differ and one process encoded them. They come from the disk
        unverified; `take` and `chunks` verify what they read, `simlearn.cache.verify` all.

        Raises:
            ValueError: for many vectors an object, and for bfloat16, which numpy lacks: use `take` or `chunks`.
        """
        if not len(self._table):
            return np.empty((0, self.embedding_size), np.float32)
        first = self._table.take(torch.tensor([0]), "cpu")[0]
        if first.is_multi_vector:
            raise ValueError("an object has many vectors here; take(...) and chunks() give them with their mask")
        if first.values.dtype is torch.bfloat16:
            raise ValueError("numpy has no bfloat16; take(...) and chunks() give tensors, or encode as torch.float16")
        vectors: NDArray[Any] = self._table.vectors.numpy()
        vectors.flags.writeable = False  # a write into the mapped file would end the process
        return vectors

    def take(self, objects: Tensor | Sequence[int] | slice) -> Embeddings:
        """The embeddings of some objects, by their places in what was encoded, on the CPU and in the stored dtype.

        Raises:
            IndexError: for a place outside [-N, N).
            LoadError: when a vector is not what was written.
        """
        places = objects if isinstance(objects, slice) else np.asarray(objects, dtype=np.int64)
        rows = torch.from_numpy(np.array(self.rows[places]))
        if not len(self._table):
            return Embeddings(torch.empty(0, self.embedding_size))
        return self._table.take(rows, "cpu")[0]

    def chunks(self, size: int = 4096) -> Iterator[Embeddings]:
        """The embeddings of all objects in their order, `size` objects at once.

        Raises:
            ValueError: for a size below 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))


_CURE = "encode_to_disk writes it anew, and encodes only what is missing"


class OrderWriter:
    """Writes which row each object has, as they come, and at the end of a `with` block of what.

    Args:
        folder: an empty folder.
        table: whose rows they are.
    """

    def __init__(self, folder: Path, table: DiskTable) -> None:
        self._folder = folder
        self._table = table
        self._digest = blake2b(digest_size=16)
        self._count = 0

    def __enter__(self) -> OrderWriter:
        self._file = (self._folder / _ROWS_FILE).open("wb")
        self._file.write(bytes(_HEADER_BYTES))
        return self

    def write(self, rows: NDArray[np.int64]) -> None:
        """The rows (n,) of the next n objects."""
        content = rows.astype("<i8").tobytes()
        self._digest.update(content)
        self._file.write(content)
        self._count += len(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            if error is not None:
                return
            header = _npy_header(self._count)  # only now it is known how many there are
            self._digest.update(header)
            self._file.seek(0)
            self._file.write(header)
        told = {"objects": self._count, "generation": self._table.generation}
        write_sealed(self._folder / ORDER_FILE, {**told, "rows_checksum": self._digest.hexdigest()})


def _npy_header(count: int) -> bytes:
    """Of an int64 array (count,): as long for every count, since numpy pads it to a multiple of 64 bytes."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (count,)})
    if len(header.getvalue()) != _HEADER_BYTES:
        raise RuntimeError(f"this numpy writes headers of {len(header.getvalue())} bytes, not of {_HEADER_BYTES}")
    return header.getvalue()


def read_order(folder: Path, generation: str) -> NDArray[np.int64]:
    """The row of each object (N,) in a folder of encoded objects, memory-mapped.

    Args:
        folder: what `encode_to_disk` was given.
        generation: of its table.

    Raises:
        LoadError: when it is damaged, or of another generation.
    """
    while True:
        order = read_sealed(folder / ORDER / ORDER_FILE)
        if order["generation"] != generation:
            raise LoadError(f"{folder} was pruned or repaired since its objects were encoded; {_CURE}")
        try:
            return _read_rows(folder / ORDER / _ROWS_FILE, int(order["objects"]), order["rows_checksum"])
        except LoadError:
            # Another process may have put its order in the place of this one between the two files.
            if read_sealed(folder / ORDER / ORDER_FILE) == order:
                raise


def _read_rows(path: Path, count: int, checksum: str) -> NDArray[np.int64]:
    """The rows (count,), memory-mapped; without `np.load`, which trusts the header that it reads."""
    digest = blake2b(digest_size=16)
    try:
        if path.stat().st_size != _HEADER_BYTES + 8 * count:
            raise LoadError(f"{path} was cut short or added to; {_CURE}")
        whole = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}; {_CURE}") from None
    for start in range(_HEADER_BYTES, len(whole), _AT_ONCE):
        digest.update(whole[start : start + _AT_ONCE].data)
    digest.update(whole[:_HEADER_BYTES].data)  # as it was written: last
    if digest.hexdigest() != checksum:
        raise LoadError(f"{path} is not what was written to it; {_CURE}")
    rows: NDArray[np.int64] = np.asarray(whole[_HEADER_BYTES:]).view("<i8")
    return rows
