"""From objects to the rows of a cache, and whether they are still the same objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simlearn.cache.config import KeyExtractor
from simlearn.cache.reading import RoleReader, keys_of, random_rows
from simlearn.cache.saved_rows import other_content
from simlearn.cache.tables import TableName, table_name
from simlearn.data import SimilarityDataLoader
from simlearn.ragged import Ragged
from simlearn.store import Table
from simlearn.towers.inputs import CachedRows

_RECHECKED = 4
"""Samples read again in every epoch."""


@dataclass(frozen=True)
class RowLookup:
    """From objects to their rows in a table.

    Args:
        table: it is filled.
        extractor: makes the keys.
        encoder: the encoder's name.
    """

    table: Table
    extractor: KeyExtractor | None
    encoder: str

    def find(self, objects: list[Any]) -> Tensor:
        """The rows (n,) int64 of n objects, -1 for those that the table lacks."""
        return self.table.find(keys_of(objects, self.extractor, self.encoder))

    def __call__(self, objects: list[Any]) -> CachedRows:
        """The rows of objects; raises ValueError where the table lacks one."""
        rows = self.find(objects)
        if (rows < 0).any():
            raise ValueError(_changed(self.encoder))
        return CachedRows(rows)


@dataclass(frozen=True)
class Recheck:
    """Reads a few samples again: whoever changes them from epoch to epoch must hear of it.

    Args:
        loader: the data set.
        readers: of its roles.
        tables: in which its objects are.
        rows: where, by role and part.
        is_saved: whether the rows were those of a saved version.
    """

    loader: SimilarityDataLoader
    readers: Sequence[RoleReader]
    tables: dict[TableName, Table]
    rows: dict[str, dict[str, Ragged]]
    is_saved: bool

    def __call__(self, epoch: int) -> None:
        """Raise ValueError where an object is not what it was."""
        encoder = self.changed(epoch)
        if encoder is not None:
            raise ValueError(
                other_content(self.loader.dataset_version, encoder) if self.is_saved else _changed(encoder)
            )

    def changed(self, epoch: int) -> str | None:
        """The encoder of an object that is not what it was; None where none is seen."""
        source: Any = self.loader.source
        numbers = random_rows(len(source), _RECHECKED, epoch)
        samples = source.__getitems__(numbers)
        for reader in self.readers:
            objects, _ = reader.objects(samples)
            for part, _, keys in reader.keyed(objects):
                expected = self.rows[reader.role][part.name].take(torch.tensor(numbers)).values
                if not torch.equal(self.tables[table_name(part)].find(keys), expected):
                    return part.encoder
        return None


def _changed(encoder: str) -> str:
    return (
        f"encoder {encoder!r} is cached, and an object is not what it was when the cache was filled: the data set gives"
        f" other content each time (random augmentation?). Set CacheConfig(mapping={{{encoder!r}: CacheType.NONE}}),"
        " or tokens=False where its tokens are kept"
    )
