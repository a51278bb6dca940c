"""Data sets of a known version, so that the next run need not even look at their objects."""

from __future__ import annotations

import errno
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from simlearn.components import CannotTellError, Teller
from simlearn.data import SimilarityDataLoader
from simlearn.data.columns import Column, Columns
from simlearn.files import add_tensors, unreadable, write_tensors
from simlearn.ragged import Ragged
from simlearn.store import DiskTable, Table

if TYPE_CHECKING:
    from simlearn.cache.config import CacheConfig
    from simlearn.cache.reading import RoleReader
    from simlearn.cache.tables import TableName

_logger = logging.getLogger(__name__)

DATASETS = "datasets"
"""The folder of a cache in which they are."""

Rows: TypeAlias = "dict[str, dict[str, Ragged]]"

_SAMPLED = 8
"""Samples, from evenly spaced places of a data set, whose keys are remembered."""

_NUMBERS = "samples"
_KEYS = "key/"


@dataclass(frozen=True)
class SampledKeys:
    """The content keys of a few samples of a data set: a version that stays while the content changes is found out.

    Args:
        numbers: (s,) int64, of the samples.
        keys: by role and part, `"query/default"`: (k, 16) uint8, of their objects.
    """

    numbers: Tensor
    keys: dict[str, Tensor]

    @classmethod
    def of(cls, size: int, readers: Sequence[RoleReader]) -> SampledKeys:
        """Of a data set of so many samples that the readers have read and not yet given the rows of."""
        count = min(_SAMPLED, size)
        numbers = torch.arange(count) * (size - 1) // max(1, count - 1)
        found = {reader.role: reader.sampled(numbers.tolist()) for reader in readers} if size else {}
        return cls(numbers, {f"{role}/{part}": keys for role, parts in found.items() for part, keys in parts.items()})

    def check(self, loader: SimilarityDataLoader, readers: Sequence[RoleReader]) -> None:
        """Read the samples again.

        Raises:
            ValueError: when one of them is another one now, naming the version.
        """
        source: Any = loader.source
        samples = source.__getitems__(self.numbers.tolist()) if len(self.numbers) else []
        for reader in readers:
            for part, _, keys in reader.keyed(reader.objects(samples)[0]) if samples else ():
                if not torch.equal(torch.from_numpy(keys), self.keys[f"{reader.role}/{part.name}"]):
                    raise ValueError(other_content(loader.dataset_version, part.encoder))


def other_content(version: str | None, encoder: str) -> str:
    """What to say of a data set that has other content than when its version was saved."""
    return (
        f"the data set of dataset_version {version!r} is not what it was when the cache was filled: encoder "
        f"{encoder!r} reads other objects. Give another dataset_version whenever the content changes, or leave it out;"
        " for content that is new each time (random augmentation), set "
        f"CacheConfig(mapping={{{encoder!r}: CacheType.NONE}})"
    )


@dataclass(frozen=True)
class SavedRows:
    """The labels of a data set and the rows of its objects, in a file.

    Its name says which version of which data it is, how it is read, and which tables its rows are of; so it is never
    read for anything else.

    Args:
        path: the file.
    """

    path: Path

    @classmethod
    def of(
        cls,
        config: CacheConfig,
        loader: SimilarityDataLoader,
        readers: Sequence[RoleReader],
        tables: Mapping[TableName, Table],
    ) -> SavedRows | None:
        """Where the rows of a data set are; None when its version is not known, or nothing outlives the run."""
        if config.save_dir is None or loader.dataset_version is None or loader.is_stream:
            return None
        told = [loader.dataset_version, type(loader.kind).__name__, str(len(loader.source))]  # type: ignore[arg-type]
        functions = [loader.kind.key, *(spec for _, spec in sorted(loader.source.reader.columns.items()))]
        functions += [extractor for reader in readers for extractor in reader.extractors if extractor is not None]
        try:
            told += [Teller().tell(one).hex() if callable(one) else repr(one) for one in functions]
        except CannotTellError:  # another function might have its rows; the data set is there to be read again
            return None
        told += sorted(loader.source.reader.columns)
        for reader in readers:
            for part in reader.parts:
                table = tables[part.encoder, part.prompt]
                if not isinstance(table, DiskTable):
                    return None
                told += [reader.role, part.name, repr(part.field), table.path.name, table.generation]
        digest = blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
        return cls(Path(config.save_dir) / DATASETS / f"{digest}.safetensors")

    def read(self) -> tuple[Columns, Rows, SampledKeys | None] | None:
        """The labels, for each role and part the rows, and a few keys; None where nothing whole was saved.

        Files that were written before keys were remembered have none.

        Raises:
            LoadError: when the file may not be read.
        """
        try:
            self.path.open("rb").close()  # safetensors calls a file missing that may not be read
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = (file.metadata() or {}).get("checksum")
        except (FileNotFoundError, SafetensorError):
            return None
        except OSError as error:
            raise unreadable(self.path, error) from error
        if told != _checksum(tensors):  # a wrong row would be a wrong vector; the data set is there to be read again
            return None
        keys = {name.removeprefix(_KEYS): tensors.pop(name) for name in list(tensors) if name.startswith(_KEYS)}
        numbers = tensors.pop(_NUMBERS, None)
        labels: Columns = {}
        rows: Rows = {}
        for name in {name.removesuffix(".offsets").removesuffix(".values") for name in tensors}:
            column = _column(name, tensors)
            what, _, rest = name.partition("/")
            if what == "label":
                labels[rest] = column
            elif isinstance(column, Ragged):
                role = "query" if what == "query" else "document"
                rows.setdefault(role, {})[rest] = column
        return labels, rows, None if numbers is None else SampledKeys(numbers, keys)

    def write(self, labels: Columns, rows: Rows, sampled: SampledKeys) -> None:
        """Save them; a reader finds all or nothing.

        The next run can do without them, though it reads the data set again. So a folder that may only be read is none
        of the user's worries, and a full disk is a warning.
        """
        columns = {f"label/{name}": column for name, column in labels.items()}
        for role, parts in rows.items():
            columns |= {f"{role}/{name}": column for name, column in parts.items()}
        tensors: dict[str, Tensor] = {_NUMBERS: sampled.numbers}
        tensors |= {f"{_KEYS}{name}": keys for name, keys in sampled.keys.items()}
        for name, column in columns.items():
            if isinstance(column, Ragged):
                tensors |= {f"{name}.values": column.values, f"{name}.offsets": column.offsets}
            else:
                tensors[name] = column
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(self.path, tensors, {"checksum": _checksum(tensors)})
        except OSError as error:
            told = f"the rows of the data set are not saved, so the next run reads it again: {error}"
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                _logger.debug(told)
            else:
                warnings.warn(told, stacklevel=2)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(digest_size=16)
    add_tensors(digest, tensors)
    return digest.hexdigest()


def _column(name: str, tensors: Mapping[str, Tensor]) -> Column:
    if name in tensors:
        return tensors[name]
    return Ragged(tensors[f"{name}.offsets"], tensors[f"{name}.values"])
