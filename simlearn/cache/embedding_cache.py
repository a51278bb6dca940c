"""The vectors of frozen encoders, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from simlearn import meta as columns
from simlearn.cache.config import CacheConfig, CacheType, KeyExtractor
from simlearn.data import SampleTable, SimilarityDataLoader
from simlearn.data import columns as label_columns
from simlearn.data.columns import Columns, Ragged
from simlearn.distributed import rank, world_size
from simlearn.embeddings import Embeddings, gather_embeddings
from simlearn.encoders.inputs import CachedRows, cast, move
from simlearn.encoders.towers import Part, Role, TowerCollator
from simlearn.encoding import encode_in_batches
from simlearn.hashing import content_key
from simlearn.meta import Meta
from simlearn.models import SimilarityModel
from simlearn.relations import RelationCheck
from simlearn.store import Table, VectorTable, as_keys

_CHUNK = 4096
"""Samples read, and their new objects sorted by length and encoded, at once."""


class EmbeddingCache:
    """What frozen encoders say of each distinct object of the data.

    Args:
        model: the model whose encoders are cached; it is neither wrapped nor changed.
        config: which encoders, and where.

    Raises:
        ValueError: for encoders that the config names and the model lacks, or that training would change.
    """

    def __init__(self, model: SimilarityModel, config: CacheConfig) -> None:
        self.model = model
        self.config = config
        encoders = model.plan.encoders
        extractors = config.key_extractors
        named = {*config.mapping, *(extractors if isinstance(extractors, dict) else ())}
        if unknown := sorted(named - set(encoders)):
            raise ValueError(f"CacheConfig names the encoders {unknown}, the model has {sorted(encoders)}")
        for name, encoder in encoders.items():
            if encoder.trainable and config.mapping.get(name, CacheType.NONE) is not CacheType.NONE:
                raise ValueError(f"encoder {name!r} is trainable, so its embeddings change and cannot be cached")
        self.tables: dict[tuple[str, str | None], Table] = {
            (part.encoder, part.prompt): VectorTable(self._device(part))
            for part in (*model.plan.query, *model.plan.document)
            if self.covers(part)
        }

    def covers(self, part: Part) -> bool:
        """Whether the embeddings of a part are cached."""
        frozen = not self.model.plan.encoders[part.encoder].trainable
        return frozen and self.config.type_of(part.encoder) is not CacheType.NONE

    @property
    def is_complete(self) -> bool:
        """Whether all parts of all towers are cached, so that the data set need not be read again."""
        return all(self.covers(part) for part in (*self.model.plan.query, *self.model.plan.document))

    def _device(self, part: Part) -> torch.device | None:
        kind = self.config.type_of(part.encoder)
        if kind is CacheType.GPU and self.model.device.type == "cpu":
            raise ValueError(
                "CacheType.GPU needs the model on a GPU; CacheType.AUTO keeps vectors where the encoder runs"
            )
        return {CacheType.CPU: torch.device("cpu"), CacheType.GPU: self.model.device}.get(kind)

    def _table(self, part: Part) -> Table:
        return self.tables[part.encoder, part.prompt]

    def take(self, part: Part, rows: CachedRows, device: torch.device) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of a part's rows; see `KnownVectors`."""
        return self._table(part).take(rows.rows, device)

    def lookups(self, role: Role) -> dict[str, Callable[[list[Any]], CachedRows]]:
        """For each cached part of a tower, by name: from its objects to their rows."""
        return {
            part.name: _Lookup(self._table(part), self.config.key_extractor(part.encoder), part.encoder)
            for part in getattr(self.model.plan, role)
            if self.covers(part)
        }

    def fill(
        self, loader: SimilarityDataLoader, check: RelationCheck | None = None, *, progress: bool = True
    ) -> SampleTable | None:
        """Read a data set once and encode what is new in it.

        Args:
            loader: the data set and how its samples are read.
            check: handed to the table.
            progress: whether to show a progress bar.

        Returns:
            The data set as columns of row numbers, when samples have numbers and all encoders are cached; else None.
        """
        readers = [_RoleReader(self, role, loader) for role in self._roles(loader)]
        wants_table = self.is_complete and not loader.is_stream
        labels: list[Columns] = []
        size = None if loader.is_stream else len(loader.source)  # type: ignore[arg-type]
        bar = tqdm(total=size, desc="Caching", unit="sample", leave=False, disable=not progress or rank() > 0)
        for samples in _chunks(loader.source):
            if wants_table:
                labels.append({**loader.kind.labels(samples), **loader.kind.ids(samples)})
            for reader in readers:
                reader.read(samples)
            bar.update(len(samples))
        bar.close()
        if not wants_table:
            return None
        rows = {reader.role: reader.table_rows() for reader in readers}
        queries = {name: column.values for name, column in rows["query"].items()}
        two_towers = not self.model.is_symmetric
        return SampleTable(
            loader.kind, label_columns.concatenate(labels), queries, rows.get("document", {}), two_towers, check
        )

    def _roles(self, loader: SimilarityDataLoader) -> tuple[Role, ...]:
        return ("query",) if loader.kind.shared else ("query", "document")

    def encode(self, part: Part, objects: list[Any], keys: NDArray[np.uint8], shared: bool) -> None:
        """Encode new objects of a part and keep them by key; processes that read the same data share the work."""
        encoder = self.model.plan.encoders[part.encoder]
        collator = TowerCollator.of((part,), self.model.plan.encoders)
        extract = collator.meta_extractors[0]
        meta = columns.columns(extract(objects)) if extract is not None else {}
        device = next((tensor.device for tensor in (*encoder.parameters(), *encoder.buffers())), self.model.device)

        def encode_batch(batch: list[Any]) -> Embeddings:
            encoded: Any = encoder(cast(move(collator.collate_fns[0](batch), device), encoder))
            return encoded if isinstance(encoded, Embeddings) else Embeddings(encoded)

        # With fewer objects than processes some would have nothing to gather, not even a dtype.
        share = shared and len(objects) >= world_size() > 1
        shares = np.array_split(np.arange(len(objects)), world_size() if share else 1)
        own = shares[rank()] if share else shares[0]
        with torch.no_grad():
            embeddings = encode_in_batches(
                [objects[row] for row in own], encode_batch, batch_size=self.config.batch_size
            )
            if share:
                (embeddings,) = gather_embeddings([embeddings], [[len(rows)] for rows in shares])
        self._table(part).append(keys, embeddings, meta)


class _RoleReader:
    """Collects the rows of one tower's objects while a data set is read."""

    def __init__(self, cache: EmbeddingCache, role: Role, loader: SimilarityDataLoader) -> None:
        self.cache = cache
        self.role = role
        self.kind = loader.kind
        # Shards of a stream differ between processes, so there is nothing to share; neither do all see the same number.
        self.shared = not loader.sharded
        self.parts = [part for part in getattr(cache.model.plan, role) if cache.covers(part)]
        self.rows: dict[str, list[Ragged]] = {part.name: [] for part in self.parts}

    def read(self, samples: Sequence[Any]) -> None:
        if self.role == "query":
            objects = self.kind.queries(samples)
            counts = [1] * len(objects)
        else:
            objects, counts = self.kind.documents(samples)
        offsets = torch.tensor([0, *counts], dtype=torch.long).cumsum(0)
        for part in self.parts:
            picked = part.pick(objects)
            keys = as_keys(_keys(picked, self.cache.config.key_extractor(part.encoder), part.encoder))
            table = self.cache._table(part)
            new = table.missing(keys)
            if len(new):
                self.cache.encode(part, [picked[position] for position in new], keys[new], self.shared)
            # After they are in: another process may have committed them first, under other numbers.
            self.rows[part.name].append(Ragged(table.rows(keys), offsets))

    def table_rows(self) -> dict[str, Ragged]:
        joined = {name: label_columns.join(parts) for name, parts in self.rows.items()}
        return {name: column for name, column in joined.items() if isinstance(column, Ragged)}


@dataclass(frozen=True)
class _Lookup:
    table: Table
    extractor: KeyExtractor | None
    encoder: str

    def __call__(self, objects: list[Any]) -> CachedRows:
        try:
            return CachedRows(self.table.rows(_keys(objects, self.extractor, self.encoder)))
        except KeyError:
            raise ValueError(
                f"the cache of encoder {self.encoder!r} has never seen an object of this batch: its content "
                "changes from epoch to epoch (random augmentation?). Set "
                f"CacheConfig(mapping={{{self.encoder!r}: CacheType.NONE}})"
            ) from None


def _keys(objects: Sequence[Any], extractor: KeyExtractor | None, encoder: str) -> list[bytes]:
    try:
        return [content_key(obj if extractor is None else extractor(obj)) for obj in objects]
    except TypeError as error:
        raise TypeError(f"cannot cache encoder {encoder!r}: {error}") from error


def _chunks(samples: Any) -> Iterator[list[Any]]:
    iterator = iter(samples)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
