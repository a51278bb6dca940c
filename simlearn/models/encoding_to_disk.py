"""Objects without number are encoded into a folder, a chunk at a time; who is killed goes on where it was.

1. A chunk of objects is read and keyed; those that the table lacks are encoded, sorted by length.
2. The table commits whole chunks, so that a run that goes on encodes the same batches as one that was never killed.
3. The row of every object is written to a draft, which counts when all objects are in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from simlearn.embeddings import Embeddings
from simlearn.encoders.identity import code_of, identity
from simlearn.encoders.towers import Role
from simlearn.encoding import encode_in_batches, evaluating
from simlearn.files import replaced_folder
from simlearn.hashing import content_key
from simlearn.heads import EncoderHead
from simlearn.models.encoded_objects import ORDER, ORDER_FILE, TABLE, EncodedObjects, OrderWriter
from simlearn.models.output import finished
from simlearn.store import DiskTable, as_keys

if TYPE_CHECKING:
    from simlearn.models.similarity_model import SimilarityModel

_BATCHES = 16
"""Batches in a chunk: enough objects to find some of similar length, few enough that a kill costs little."""

_WAITING = 1 << 16
"""Objects whose rows are asked for at once, which commits them: seldom enough to leave the table its own time."""


def encode_to_disk(
    model: SimilarityModel,
    objects: Iterable[Any],
    path: str | Path,
    role: Role,
    *,
    key: Callable[[Any], Any] | None,
    batch_size: int,
    dtype: torch.dtype | None,
    normalize: bool = False,
    truncate_dim: int | None = None,
    show_progress: bool = False,
) -> EncodedObjects:
    """See `SimilarityModel.encode_to_disk`."""
    if isinstance(objects, (str, bytes, Mapping)):
        raise TypeError(f"objects must be a list or another iterable of objects, got one {type(objects).__name__}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    tower = model.tower(role)
    nothing = finished(tower.embeddings_of_nothing().values, normalize=normalize, truncate_dim=truncate_dim)
    made_by = _made_by(model, role, key) | {"normalize": normalize, "truncate_dim": truncate_dim}
    folder = Path(path).absolute()
    table = _table(folder, made_by, nothing.shape[-1], dtype)
    collate, device = tower.collator(), model.device

    def encode_batch(batch: list[Any]) -> Embeddings:
        embeddings = tower.embed(collate(batch).to(device))
        values = finished(embeddings.values, normalize=normalize, truncate_dim=truncate_dim)
        return Embeddings(values, embeddings.mask)

    total = len(objects) if isinstance(objects, Sized) else None
    bar = tqdm(total=total, desc="Encoding", disable=not show_progress, unit="obj", leave=False)
    with (
        bar,
        evaluating(model),
        torch.no_grad(),
        replaced_folder(folder / ORDER, ORDER_FILE) as draft,
        table,
        OrderWriter(draft, table) as order,
    ):
        waiting: list[NDArray[np.uint8]] = []
        for chunk in _chunks(objects, _BATCHES * batch_size):
            keys = as_keys(_keys(chunk, key))
            new = table.missing(keys)
            if len(new):
                encoded = encode_in_batches([chunk[place] for place in new], encode_batch, batch_size=batch_size)
                table.append(keys[new], encoded, {})
            waiting.append(keys)
            if sum(map(len, waiting)) >= _WAITING:
                order.write(table.rows(np.concatenate(waiting)).numpy())
                waiting = []
            bar.update(len(chunk))
        if waiting:
            order.write(table.rows(np.concatenate(waiting)).numpy())
    return EncodedObjects(folder)


def _table(folder: Path, made_by: dict[str, Any], size: int, dtype: torch.dtype | None) -> DiskTable:
    """The folder's table; refused when another model filled it."""
    if folder.exists() and not (folder / TABLE).is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something else than encoded objects; choose another folder")
    description = {"holds": "encoded objects", "made_by": made_by, "embedding_size": size}
    table = DiskTable(folder / TABLE, description=description, dtype=dtype)
    known, wanted = table.description.get("made_by", {}), json.loads(json.dumps(made_by))
    if known != wanted:
        different = sorted(name for name in known.keys() | wanted.keys() if known.get(name) != wanted.get(name))
        raise ValueError(
            f"{folder} holds what another model, or the same one in another way, made of objects (different: "
            f"{', '.join(different)}); encode into another folder, or remove this one"
        )
    return table


def _made_by(model: SimilarityModel, role: Role, key: Callable[[Any], Any] | None) -> dict[str, Any]:
    """Who encodes, and what objects are known by, as JSON can hold it. Other answers may not share a table."""
    tower = model.tower(role)
    return {
        "role": None if model.is_symmetric else role,
        "encoders": [
            {**part.to_json(), "identity": identity(part, model.plan.encoders[part.encoder])} for part in tower.parts
        ],
        "head": {"class": type(tower.head).__qualname__, "identity": _head_identity(tower.head)},
        "keys": "content" if key is None else _digest(code_of(key)),
    }


def _head_identity(head: EncoderHead) -> str:
    """32 hexadecimal digits that change with the structure of a head, its weights, and the code of foreign parts."""
    told = [repr(head), *(code for module in head.modules() for code in code_of(type(module)))]
    for module in head.modules():
        if isinstance(module, EncoderHead):
            try:
                told.append(repr(sorted(module.get_config_dict().items())))
            except (TypeError, NotImplementedError):  # it cannot be saved; its structure and code are told
                continue
    digest = blake2b(_digest(told).encode(), digest_size=16)
    for name, tensor in sorted(head.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest(texts: Iterable[str]) -> str:
    digest = blake2b(digest_size=16)
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text.encode())
    return digest.hexdigest()


def _keys(objects: list[Any], key: Callable[[Any], Any] | None) -> list[bytes]:
    try:
        return [content_key(obj if key is None else key(obj)) for obj in objects]
    except TypeError as error:
        raise TypeError(f"{error}; for encode_to_disk it is `key=`") from error


def _chunks(objects: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(objects)
    while chunk := list(islice(iterator, size)):
        yield chunk
