"""Where the vectors of a model's frozen encoders are kept, one table for each encoder and prompt."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from simlearn.cache.config import CacheConfig, CacheType
from simlearn.components import CannotTellError
from simlearn.distributed import gather_objects, rank, world_size
from simlearn.embeddings import Embeddings
from simlearn.encoders import Encoder, version_1
from simlearn.files import CAN_SHARE, read_sealed, temporary_folder
from simlearn.meta import Meta
from simlearn.models import SimilarityModel
from simlearn.store import KEY_SIZE, DiskTable, Table, VectorTable
from simlearn.store.commit import STORE_FILE
from simlearn.store.upkeep import is_table
from simlearn.towers.identity import identity
from simlearn.towers.plan import Part

TableName: TypeAlias = tuple[str, str | None]
"""The encoder's name and the prompt."""

_GPU_SHARE = 0.25
"""Of the free memory of a GPU, what vectors may take where nobody said where they should be."""

_COPIED = 16_384
"""Rows copied from a table at once."""


def table_name(part: Part) -> TableName:
    """What a part's table is known by; parts in several towers or fields may share it."""
    return part.encoder, part.prompt


def open_tables(model: SimilarityModel, parts: list[Part], config: CacheConfig) -> dict[TableName, Table]:
    """A table for each encoder and prompt: in `save_dir`, in a temporary folder, or in memory.

    Raises:
        TypeError: for an encoder whose vectors cannot be told from another one's, and a `save_dir`.
        ValueError: for `CacheType.GPU` without a GPU, a `dtype` for tables in memory, or several machines without a
            `save_dir`.
        LoadError: for a table in `save_dir` that is damaged.
    """
    folder = _folder(parts, config)
    tables: dict[TableName, Table] = {}
    for part in parts:
        kind = config.type_of(part.encoder)
        if kind is CacheType.GPU and model.device.type == "cpu":
            raise ValueError(
                "CacheType.GPU needs the model on a GPU; CacheType.AUTO keeps vectors where the encoder runs"
            )
        if table_name(part) in tables:
            continue
        if folder is None:
            if config.dtype is not None:
                raise ValueError("CacheConfig.dtype is for vectors on disk; give a save_dir, or CacheType.MMAP")
            device = {CacheType.CPU: torch.device("cpu"), CacheType.GPU: model.device}.get(kind)
            tables[table_name(part)] = VectorTable(device)
        elif config.save_dir is None:  # for this run alone: the encoder's place tells it from the others
            description = {"encoder": part.encoder, "prompt": part.prompt}
            tables[table_name(part)] = DiskTable(
                folder / f"table-{len(tables)}", description=description, dtype=config.dtype
            )
        else:
            table = _durable_table(folder, part, model.plan.encoders[part.encoder], config)
            same = [one for one in tables.values() if isinstance(one, DiskTable) and one.path == table.path]
            tables[table_name(part)] = same[0] if same else table
    return tables


def who_encodes(part: Part, encoder: Encoder, autocast: torch.dtype | None) -> str:
    """The identity of a part's encoder.

    Raises:
        TypeError: when it cannot be told from others, with what to do.
    """
    try:
        return identity(part, encoder, autocast)
    except CannotTellError as error:
        raise TypeError(
            f"encoder {part.encoder!r} cannot be cached on disk, where its vectors must be told from those of others: "
            f"{error}; or let {type(encoder).__name__} define fingerprint_settings with all that decides its vectors, "
            "or leave out save_dir"
        ) from error


def _durable_table(folder: Path, part: Part, encoder: Encoder, config: CacheConfig) -> DiskTable:
    """The table of a part in a folder that outlives the run, named after nothing but what decides its vectors."""
    kept_as = "" if config.dtype is None else f"-{str(config.dtype).removeprefix('torch.')}"
    who = who_encodes(part, encoder, config.autocast) + kept_as
    path = folder / f"vectors-{who}"
    description = {
        "encoder": part.encoder,
        "class": type(encoder).__qualname__,
        "prompt": part.prompt,
        "identity": who,
        "embedding_size": encoder.embedding_size,
    }
    if not is_table(path) and (old := _version_1_tables(folder)):
        told = version_1.identity(encoder, part.prompt, config.autocast)
        for table, known in old.items():
            if told is not None and known.get("identity") == told + kept_as:
                return DiskTable(table, description={"identity": told + kept_as}, dtype=config.dtype)
            if told is None and [known.get(name) for name in _PLACE] == [description[name] for name in _PLACE]:
                warnings.warn(
                    f"{table} was filled by an earlier simlearn, which could not tell every {type(encoder).__name__} "
                    "from others: its objects are encoded anew, and it can be pruned",
                    stacklevel=2,
                )
                break
    return DiskTable(path, description=description, dtype=config.dtype)


_PLACE = ("encoder", "class", "prompt")


def _version_1_tables(folder: Path) -> dict[Path, dict[str, Any]]:
    """The tables that were named after a part and an identity, and their descriptions."""
    old = [path for path in sorted(folder.glob("*-*")) if not path.name.startswith(("vectors-", "tokens-", "."))]
    return {path: read_sealed(path / STORE_FILE)["description"] for path in old if is_table(path)}


def _folder(parts: list[Part], config: CacheConfig) -> Path | None:
    """Where tables are on disk; None for tables in memory. The same for all processes."""
    in_memory = all(config.type_of(part.encoder) is not CacheType.MMAP for part in parts)
    if config.save_dir is None and world_size() == 1 and in_memory:
        return None
    return shared_folder(config.save_dir)


def shared_folder(save_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of a cache: the one that was given, or a temporary one that all processes share.

    Raises:
        ValueError: where processes cannot share a temporary one.
    """
    if save_dir is not None:
        return Path(save_dir)
    if world_size() > 1 and not CAN_SHARE:
        raise ValueError("on this system several processes cannot share a cache; train with one, or without a cache")
    hosts = gather_objects(socket.gethostname())
    if len(set(hosts)) > 1:
        raise ValueError(
            f"{len(set(hosts))} machines train together and share no temporary folder; give "
            "CacheConfig(save_dir=...) on a file system that all of them see"
        )
    made = str(temporary_folder()) if rank() == 0 else None
    return Path(gather_objects(made)[0])


def residence(table: Table, kind: CacheType, read: Sequence[Tensor], model_device: torch.device) -> Table | Resident:
    """The table that training reads: itself, or a copy of the rows that it needs on a faster device.

    Args:
        table: it is filled.
        kind: where the vectors should be.
        read: int64 rows of each data set, with repetitions: what training needs.
        model_device: where the model is.
    """
    device = torch.device("cpu") if kind is CacheType.CPU else model_device
    stays = kind is CacheType.MMAP or (kind is CacheType.AUTO and device.type != "cuda")
    if not isinstance(table, DiskTable) or stays or not read:
        return table
    used = torch.unique(torch.cat(list(read)))
    if kind is CacheType.AUTO and not _has_room(table, used, device):
        return table
    return Resident.of(table, used, device)


def _has_room(table: DiskTable, used: Tensor, device: torch.device) -> bool:
    """Whether a GPU may hold the rows; the main memory need not, since the system keeps there what is read often."""
    if not len(table):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return table.size * len(used) / len(table) < _GPU_SHARE * free


@dataclass(frozen=True)
class Resident:
    """Some rows of a table, copied to a device.

    Args:
        table: whose rows they are; it gives those that were not copied.
        copied: the rows, in their order.
        places: (rows of the table,) where each of its rows is in `copied`; −1 for those that are not.
    """

    table: Table
    copied: VectorTable
    places: Tensor

    @classmethod
    def of(cls, table: Table, used: Tensor, device: torch.device) -> Resident:
        """Copy the rows (u,) of a table, ascending."""
        copied = VectorTable(device)
        for rows in torch.split(used, _COPIED):
            keys = np.zeros((len(rows), KEY_SIZE), dtype=np.uint8)  # the row's number, since nobody asks for contents
            keys[:, :8] = rows.numpy().view(np.uint8).reshape(-1, 8)
            copied.append(keys, *table.take(rows, device))
        places = torch.full((len(table),), -1, dtype=torch.long)
        places[used] = torch.arange(len(used))
        return cls(table, copied, places)

    def take(self, rows: Tensor, device: torch.device | str) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of rows of the table, on `device`."""
        if len(rows) and int(rows.max()) >= len(self.places):  # committed since, by another process
            return self.table.take(rows, device)
        places = self.places.index_select(0, rows.cpu())
        return self.copied.take(places, device) if (places >= 0).all() else self.table.take(rows, device)
