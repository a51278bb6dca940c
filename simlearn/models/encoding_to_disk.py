"""Objects without number are encoded into a folder, a chunk at a time; who is killed goes on where it was.

1. A chunk of objects is read and keyed; those that the table lacks are encoded, sorted by length.
2. The table commits whole chunks, so that a run that goes on encodes the same batches as one that was never killed.
3. The row of every object is written to a draft, which counts when all objects are in.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from simlearn.components import CannotTellError, Teller
from simlearn.embeddings import Embeddings
from simlearn.encoders import version_1
from simlearn.encoding import encode_in_batches, evaluating
from simlearn.files import replaced_folder
from simlearn.hashing import content_key
from simlearn.models.encoded_objects import ORDER, ORDER_FILE, TABLE, EncodedObjects, OrderWriter
from simlearn.models.output import finished
from simlearn.progress import Bar
from simlearn.store import DiskTable, as_keys
from simlearn.store.commit import STORE_FILE
from simlearn.store.upkeep import make
from simlearn.towers.identity import identity

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
    role: str,
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
    table = _table(folder, made_by, nothing.shape[-1], dtype, _Version1(model, role, made_by))
    collate, device = tower.collator(), model.device

    def encode_batch(batch: list[Any]) -> Embeddings:
        embeddings = tower.embed(collate(batch).to(device))
        values = finished(embeddings.values, normalize=normalize, truncate_dim=truncate_dim)
        return Embeddings(values, embeddings.mask)

    total = len(objects) if isinstance(objects, Sized) else None
    bar = Bar(total=total, desc="Encoding", disable=not show_progress, unit="obj", leave=False)
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


def _table(folder: Path, made_by: dict[str, Any], size: int, dtype: torch.dtype | None, old: _Version1) -> DiskTable:
    """The folder's table; refused when another model filled it."""
    if folder.exists() and not (folder / TABLE).is_dir() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds something else than encoded objects; choose another folder")
    description = {"holds": "encoded objects", "made_by": made_by, "embedding_size": size}
    table = DiskTable(folder / TABLE, description=description, dtype=dtype)
    known, wanted = table.description.get("made_by", {}), json.loads(json.dumps(made_by))
    if "format" not in known:
        if old.means_the_same(known):
            return table
        if old.may_mean_the_same(known):
            what = " and ".join(old.untold())
            warnings.warn(
                f"{folder} was filled by an earlier simlearn, which could not tell every {what} from others: its "
                "objects are encoded anew",
                stacklevel=3,
            )
            del table
            with replaced_folder(folder / TABLE, STORE_FILE) as draft:
                make(draft, description)
            return DiskTable(folder / TABLE, description=description, dtype=dtype)
    if known != wanted:
        different = sorted(name for name in known.keys() | wanted.keys() if known.get(name) != wanted.get(name))
        raise ValueError(
            f"{folder} holds what another model, or the same one in another way, made of objects (different: "
            f"{', '.join(different)}); encode into another folder, or remove this one"
        )
    return table


def _made_by(model: SimilarityModel, role: str, key: Callable[[Any], Any] | None) -> dict[str, Any]:
    """Who encodes, and what objects are known by, as JSON can hold it. Other answers may not share a table.

    Raises:
        TypeError: for a model that cannot be told from others.
    """
    tower = model.tower(role)
    try:
        return {
            "format": 2,
            "role": None if model.is_symmetric else role,
            "encoders": [
                {**part.to_json(), "identity": identity(part, model.plan.encoders[part.encoder])}
                for part in tower.parts
            ],
            "head": {"class": type(tower.head).__qualname__, "identity": tower.head.fingerprint()},
            "keys": "content" if key is None else Teller().tell(key).hex(),
        }
    except CannotTellError as error:
        raise TypeError(
            f"what this model makes of objects cannot be told from what another one does: {error}; let the class "
            "define fingerprint_settings with all that decides what it says"
        ) from error


class _Version1:
    """What the first format of these folders said of a model."""

    def __init__(self, model: SimilarityModel, role: str, made_by: dict[str, Any]) -> None:
        self._tower = model.tower(role)
        self._made_by = made_by

    def means_the_same(self, known: dict[str, Any]) -> bool:
        """Whether a folder was filled by this model; the first format has to have told it from others."""
        tower, told = self._tower, dict(self._made_by)
        if told.pop("keys") != "content" or known.get("keys") != "content":  # a function's code was told in another way
            return False
        identities = [version_1.identity(tower.encoders[part.encoder], part.prompt) for part in tower.parts]
        told["encoders"] = [{**one, "identity": who} for one, who in zip(told["encoders"], identities, strict=True)]
        told["head"] = {**told["head"], "identity": version_1.head_identity(tower.head)}
        del told["format"]
        is_told = told["head"]["identity"] is not None and None not in identities
        return is_told and {**told, "keys": "content"} == known

    def may_mean_the_same(self, known: dict[str, Any]) -> bool:
        """Whether a folder was filled by a model of this structure, which nothing told from others."""
        return bool(self.untold()) and _structure(known) == _structure(self._made_by)

    def untold(self) -> list[str]:
        """What the first format did not tell from others: classes, and functions that make keys."""
        tower = self._tower
        encoders = {
            type(encoder).__name__: encoder for encoder in (tower.encoders[part.encoder] for part in tower.parts)
        }
        found = [name for name, encoder in encoders.items() if version_1.identity(encoder, None) is None]
        found += [type(tower.head).__name__] if version_1.head_identity(tower.head) is None else []
        return found + (["the function key="] if self._made_by["keys"] != "content" else [])


def _structure(told: Any) -> Any:
    """What was told of a model, without who it is."""
    if isinstance(told, dict):
        return {name: _structure(one) for name, one in told.items() if name not in ("identity", "format", "keys")}
    return [_structure(one) for one in told] if isinstance(told, list) else told


def _keys(objects: list[Any], key: Callable[[Any], Any] | None) -> list[bytes]:
    try:
        return [content_key(obj if key is None else key(obj)) for obj in objects]
    except TypeError as error:
        raise TypeError(f"{error}; for encode_to_disk it is `key=`") from error


def _chunks(objects: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(objects)
    while chunk := list(islice(iterator, size)):
        yield chunk
