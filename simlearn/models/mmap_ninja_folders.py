"""Vectors from and to folders of the package mmap_ninja: an array, or a ragged one where objects have many vectors."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import mmap_ninja
import numpy as np
import torch

from simlearn.embeddings import Embeddings
from simlearn.files import LoadError, replaced_folder
from simlearn.hashing import content_key
from simlearn.models.encoded_objects import ORDER, ORDER_FILE, TABLE, EncodedObjects, OrderWriter
from simlearn.ragged import flatten, pad
from simlearn.store import DiskTable, as_keys

_AT_ONCE = 4096
"""Objects whose vectors are in memory at once."""

_FLOATS = ("float16", "float32", "float64")


def read_folder(folder: Path, objects: Iterable[Any], path: Path, dtype: torch.dtype | None) -> None:
    """See `EncodedObjects.from_mmap_ninja`."""
    stored, remaining = _open(folder), iter(objects)
    size = int((stored if isinstance(stored, np.ndarray) else stored[0]).shape[-1])
    description = {"holds": "encoded objects", "made_by": {"mmap_ninja": str(folder)}, "embedding_size": size}
    with replaced_folder(path, ORDER_FILE) as draft:  # no folder has that file: nothing is ever replaced
        (draft / ORDER).mkdir()
        with (
            DiskTable(draft / TABLE, description=description, dtype=dtype) as table,
            OrderWriter(draft / ORDER, table) as order,
        ):
            for start in range(0, len(stored), _AT_ONCE):
                given = _embeddings(stored, slice(start, start + _AT_ONCE))
                keys = as_keys([content_key(obj) for obj in islice(remaining, len(given))])
                if len(keys) < len(given):
                    raise ValueError(f"{folder} has the vectors of {len(stored)} objects, got {start + len(keys)}")
                new = table.missing(keys)
                table.append(keys[new], given.take(torch.from_numpy(new)), {})
                rows = table.rows(keys)
                if len(new) < len(keys) and not _same(table.take(rows, "cpu")[0], given):
                    raise ValueError(
                        f"equal objects have different vectors in {folder}, so these are not the objects that its rows "
                        "are of, in their order"
                    )
                order.write(rows.numpy())
        if more := sum(1 for _ in remaining):
            raise ValueError(f"{folder} has the vectors of {len(stored)} objects, got {len(stored) + more}")


def write_folder(encoded: EncodedObjects, folder: Path) -> None:
    """See `EncodedObjects.to_mmap_ninja`."""
    with replaced_folder(folder, ORDER_FILE) as draft:
        if not len(encoded):
            mmap_ninja.np_from_ndarray(draft, np.empty((0, encoded.embedding_size), np.float32))
        for number, chunk in enumerate(encoded.chunks(_AT_ONCE)):
            vectors, lengths = flatten(chunk)
            values = (vectors.float() if vectors.dtype is torch.bfloat16 else vectors).numpy()
            if lengths is None:
                (mmap_ninja.np_extend_dir if number else mmap_ninja.np_from_ndarray)(draft, values)
                continue
            parts = np.split(values, lengths.cumsum(0)[:-1].numpy())
            if number:
                mmap_ninja.RaggedMmap(draft).extend(parts)
            else:
                mmap_ninja.RaggedMmap.from_lists(draft, parts)
        _open(draft)  # the package leaves a byte where the first objects have no vectors at all, and goes on behind it


def _open(folder: Path) -> Any:
    """The array, or the ragged one. What the package would open as something else than was written is refused."""
    kind = folder / "type.ninja"
    if not kind.is_file():  # the package would make the folder
        raise LoadError(f"{folder} is no folder of mmap_ninja: it has no type.ninja")
    try:
        flat = mmap_ninja.np_open_existing(folder)
        stored = mmap_ninja.RaggedMmap(folder) if kind.read_text() == "ragged" else flat
    except (OSError, ValueError, TypeError) as error:
        raise LoadError(f"{folder} cannot be opened by mmap_ninja: {error}; write it anew") from error
    if (folder / "data.ninja").stat().st_size > max(1, flat.nbytes):
        raise LoadError(f"{folder} holds more than its shape says: a writer was killed, and rows may be shifted")
    # Not integers: of those the package cannot say whether they are the words of a bfloat16.
    if not (flat.ndim in (2, 3) if stored is flat else len(stored)) or flat.dtype.name not in _FLOATS:
        raise LoadError(f"{folder} holds {flat.dtype} {flat.shape}, not floats (N, D) or (N, M, D), or ragged (M, D)")
    return stored


def _embeddings(stored: Any, places: slice) -> Embeddings:
    if isinstance(stored, np.ndarray):
        return Embeddings(torch.from_numpy(np.array(stored[places], order="C")))
    items = [np.asarray(item) for item in stored[places]]
    if len({(item.ndim, item.shape[-1:]) for item in items}) > 1 or items[0].ndim != 2:
        raise LoadError(f"{stored.out_dir} is ragged, and its items are not all vectors (M, D) of one size D")
    lengths = torch.tensor([len(item) for item in items])
    return pad(torch.from_numpy(np.concatenate(items)), lengths.cumsum(0) - lengths, lengths)


def _same(kept: Embeddings, given: Embeddings) -> bool:
    """But for rounding, as between batches of different length."""
    first, second = kept.values.double(), given.values.double()
    return first.shape == second.shape and torch.allclose(first, second, 1e-2, 1e-2, equal_nan=True)
