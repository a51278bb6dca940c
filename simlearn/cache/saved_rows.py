"""Data sets of a known version, so that the next run need not even look at their objects."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from simlearn.data import SimilarityDataLoader
from simlearn.data.columns import Column, Columns, Ragged
from simlearn.encoders.identity import code_of
from simlearn.encoders.towers import Role
from simlearn.store import DiskTable, Table

if TYPE_CHECKING:
    from simlearn.cache.config import CacheConfig
    from simlearn.cache.reading import RoleReader
    from simlearn.cache.tables import TableName

DATASETS = "datasets"
"""The folder of a cache in which they are."""

Rows: TypeAlias = "dict[Role, dict[str, Ragged]]"


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
        told += [*code_of(loader.kind.key)] if callable(loader.kind.key) else [repr(loader.kind.key)]
        for name, spec in sorted(loader.source.reader.columns.items()):
            told += [name, *(code_of(spec) if callable(spec) else [repr(spec)])]
        for reader in readers:
            for part, extractor in zip(reader.parts, reader.extractors, strict=True):
                table = tables[part.encoder, part.prompt]
                if not isinstance(table, DiskTable):
                    return None
                told += [reader.role, part.name, repr(part.field), table.path.name, table.generation]
                told += [] if extractor is None else code_of(extractor)
        digest = blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()
        return cls(Path(config.save_dir) / DATASETS / f"{digest}.safetensors")

    def read(self) -> tuple[Columns, Rows] | None:
        """The labels, and for each role and part the rows; None where nothing whole was saved."""
        try:
            with safe_open(self.path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = (file.metadata() or {}).get("checksum")
        except (FileNotFoundError, SafetensorError):
            return None
        if told != _checksum(tensors):  # a wrong row would be a wrong vector; the data set is there to be read again
            return None
        labels: Columns = {}
        rows: Rows = {}
        for name in {name.removesuffix(".offsets").removesuffix(".values") for name in tensors}:
            column = _column(name, tensors)
            what, _, rest = name.partition("/")
            if what == "label":
                labels[rest] = column
            elif isinstance(column, Ragged):
                role: Role = "query" if what == "query" else "document"
                rows.setdefault(role, {})[rest] = column
        return labels, rows

    def write(self, labels: Columns, rows: Rows) -> None:
        """Save them; a reader finds all or nothing."""
        columns = {f"label/{name}": column for name, column in labels.items()}
        for role, parts in rows.items():
            columns |= {f"{role}/{name}": column for name, column in parts.items()}
        tensors: dict[str, Tensor] = {}
        for name, column in columns.items():
            if isinstance(column, Ragged):
                tensors |= {f"{name}.values": column.values, f"{name}.offsets": column.offsets}
            else:
                tensors[name] = column
        self.path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        draft = self.path.with_suffix(f".{secrets.token_hex(4)}.draft")
        try:
            save_file(tensors, draft, {"checksum": _checksum(tensors)})
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _column(name: str, tensors: Mapping[str, Tensor]) -> Column:
    if name in tensors:
        return tensors[name]
    return Ragged(tensors[f"{name}.values"], tensors[f"{name}.offsets"])
