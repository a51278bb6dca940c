"""Which objects of a batch are the same."""

from __future__ import annotations

import marshal
import uuid
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simlearn.hashing import content_key, stable_id


class ObjectIds:
    """Numbers objects by their content, so that an object is never taken for a negative of its twin.

    An object whose content has no key is like no other; only the very same Python object, met again by one `ObjectIds`,
    is like itself.
    """

    def __init__(self) -> None:
        self._unkeyed: dict[
            int, tuple[Any, int]
        ] = {}  # holds the objects, or Python might give their address to others

    def __call__(self, objects: Sequence[Any]) -> Tensor:
        """(N,) int64 ids of N objects, alike in every process and run where the content has a key."""
        try:
            keys = b"".join([_key(obj) for obj in objects])
        except TypeError:
            return torch.tensor([self._id(obj) for obj in objects], dtype=torch.long)
        return torch.from_numpy(np.frombuffer(keys, dtype="<i8")[::2].astype(np.int64))  # as `_integer` reads a key

    def _id(self, obj: Any) -> int:
        try:
            return _integer(_key(obj))
        except TypeError:
            return self._unkeyed.setdefault(id(obj), (obj, _integer(uuid.uuid4().bytes)))[1]


def ids_of_names(names: Iterable[Any], field: str) -> Tensor:
    """(N,) int64 ids of the names that objects were given; `field` says where, for messages.

    Raises:
        TypeError: for names that are not stable.
    """
    return torch.tensor([stable_id(name, name=field, cure="give a str or an int") for name in names], dtype=torch.long)


def _key(obj: Any) -> bytes:
    """16 bytes that say which content an object has, a product of a few fields among them.

    Such a dictionary is most of what structured data holds, and `content_key` takes longer for it than a tokenizer
    does for its text. An id lives no longer than a run, so Python's own serialisation may tell it.
    """
    if type(obj) is dict and {*map(type, obj)} <= _PLAIN and {*map(type, obj.values())} <= _PLAIN:
        # Version 2 writes numbers with their types and remembers nothing of one value for the next.
        return blake2b(marshal.dumps(obj, 2), digest_size=16, person=b"dict").digest()
    return content_key(obj)


_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))


def _integer(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little", signed=True)
