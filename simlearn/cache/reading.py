"""Reading a data set once: the key of every object, and what is new to the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from simlearn.cache.config import KeyExtractor
from simlearn.data.kinds import SampleKind
from simlearn.data.sources import MapSource, StreamSource
from simlearn.distributed import is_distributed, rank, world_size
from simlearn.hashing import content_key
from simlearn.ragged import Ragged
from simlearn.store import as_keys
from simlearn.towers.plan import Part

CHUNK = 1024
"""Samples read, and their new objects sorted by length and encoded, at once."""


def read_in_chunks(source: MapSource | StreamSource, num_workers: int) -> Iterator[list[Any]]:
    """The samples of a data set in their order, by worker processes where samples have numbers."""
    if num_workers and isinstance(source, MapSource):
        yield from DataLoader(source, batch_size=CHUNK, collate_fn=list, num_workers=num_workers)
        return
    if isinstance(source, MapSource):
        for start in range(0, len(source), CHUNK):
            yield source.__getitems__(range(start, min(start + CHUNK, len(source))))
        return
    iterator = iter(source)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def keys_of(objects: Sequence[Any], extractor: KeyExtractor | None, encoder: str) -> NDArray[np.uint8]:
    """The content keys (n, 16) of n objects.

    Raises:
        TypeError: for objects without one, naming the encoder.
    """
    try:
        return as_keys([content_key(obj if extractor is None else extractor(obj)) for obj in objects])
    except TypeError as error:
        raise TypeError(f"cannot cache encoder {encoder!r}: {error}") from error


class RoleReader:
    """Collects the keys of what one tower's cached parts read.

    Args:
        role: the tower.
        parts: its parts that are cached.
        kind: of the samples.
        extractors: for each part, what makes its keys.
    """

    def __init__(
        self, role: str, parts: Sequence[Part], kind: SampleKind, extractors: Sequence[KeyExtractor | None]
    ) -> None:
        self.role = role
        self.parts = list(parts)
        self.kind = kind
        self.extractors = list(extractors)
        self._keys: list[list[NDArray[np.uint8]]] = [[] for _ in self.parts]
        self._counts: list[list[int]] = []

    def read(self, samples: Sequence[Any]) -> Iterator[tuple[Part, list[Any], NDArray[np.uint8]]]:
        """For each part what it reads of the samples, and the keys of that."""
        objects, counts = self.objects(samples)
        self._counts.append(counts)
        for number, keyed in enumerate(self.keyed(objects)):
            self._keys[number].append(keyed[2])
            yield keyed

    def objects(self, samples: Sequence[Any]) -> tuple[list[Any], list[int]]:
        """The objects of the role, and how many each sample has."""
        if self.role == "query":
            objects = self.kind.queries(samples)
            return objects, [1] * len(objects)
        return self.kind.documents(samples)

    def keyed(self, objects: list[Any]) -> Iterator[tuple[Part, list[Any], NDArray[np.uint8]]]:
        """For each part what it reads of objects, and the keys of that."""
        for part, extractor in zip(self.parts, self.extractors, strict=True):
            picked = part.pick(objects)
            yield part, picked, keys_of(picked, extractor, part.encoder)

    def sampled(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """For each part, by name, the keys (k, 16) of the objects of some of the samples; to be asked before `rows`."""
        bounds = np.cumsum([0, *(count for chunk in self._counts for count in chunk)])
        places = [place for number in numbers for place in range(bounds[number], bounds[number + 1])]
        return {
            part.name: torch.from_numpy(np.concatenate(chunks)[places])
            for part, chunks in zip(self.parts, self._keys, strict=True)
        }

    def rows(self, find: Callable[[Part, NDArray[np.uint8]], Tensor]) -> dict[str, Ragged]:
        """For each part, by name, the rows of the objects of every sample."""
        counts = [count for chunk in self._counts for count in chunk]
        found = {}
        for part, chunks in zip(self.parts, self._keys, strict=True):
            keys = np.concatenate(chunks) if chunks else np.zeros((0, 16), np.uint8)
            found[part.name] = Ragged.of_lengths(find(part, keys), counts)
        self._keys = [[] for _ in self.parts]
        return found


def own_share(new: NDArray[np.int64], keys: NDArray[np.uint8], sharded: bool) -> NDArray[np.int64]:
    """What this process works on of new objects, by their keys.

    Args:
        new: (n,) positions of new keys.
        keys: (k, 16) all keys.
        sharded: whether processes read different streams, of which each has to do all.
    """
    if sharded or not is_distributed():
        return new
    own: NDArray[np.int64] = new[keys[new, 0] % world_size() == rank()]
    return own


def random_rows(size: int, count: int, seed: int) -> list[int]:
    """Some sample numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(size, (min(count, size),), generator=generator).tolist()
