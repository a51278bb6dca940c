"""The vectors of frozen encoders, computed once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn import meta as columns
from simlearn.cache.config import CacheConfig, CacheType, KeyExtractor
from simlearn.cache.growth import Growth
from simlearn.cache.lookups import Recheck, RowLookup
from simlearn.cache.reading import CHUNK, RoleReader, keys_of, own_share, read_in_chunks
from simlearn.cache.saved_rows import SampledKeys, SavedRows
from simlearn.cache.tables import Resident, TableName, open_tables, residence, table_name
from simlearn.cache.token_cache import CHECKED, TokenCache, TokenLookup
from simlearn.data import SampleTable, SimilarityDataLoader
from simlearn.data import columns as label_columns
from simlearn.data.columns import Columns
from simlearn.distributed import rank, together
from simlearn.embeddings import Embeddings
from simlearn.encoding import encode_in_batches
from simlearn.meta import Meta
from simlearn.models import SimilarityModel
from simlearn.progress import Bar
from simlearn.ragged import Ragged
from simlearn.relations import RelationCheck
from simlearn.store import DiskTable, Table
from simlearn.towers.inputs import CachedRows, cast, move
from simlearn.towers.plan import Part, TowerCollator


class EmbeddingCache:
    """What frozen encoders say of each distinct object of the data, and the tokens that trained ones read of it.

    1. `fill` reads a data set, keys its objects, and encodes or tokenises what its tables lack; several processes share
       that work.
    2. The objects' rows are looked up, and the data set becomes a table of row numbers.
    3. `take` gives the vectors of rows, from where training reads them fastest.

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
        covered = [part for role in model.plan.towers for part in self._covered(role)]
        self.tables: dict[TableName, Table] = open_tables(model, covered, config)
        self.tokens = TokenCache(model, config.save_dir) if config.tokens else None
        self._used: dict[TableName, list[Tensor]] = {name: [] for name in self.tables}
        self._resident: dict[TableName, Table | Resident] = {}
        self._growth = Growth(None)

    def covers(self, part: Part) -> bool:
        """Whether the embeddings of a part are cached."""
        frozen = not self.model.plan.encoders[part.encoder].trainable
        return frozen and self.config.type_of(part.encoder) is not CacheType.NONE

    def _covered(self, role: str) -> list[Part]:
        return list(filter(self.covers, self.model.plan[role]))

    def _tokens(self, part: Part) -> TokenLookup | None:
        """Where the tokens of a part are; None where they are not kept."""
        return None if self.tokens is None else self.tokens.lookup(part)

    def _kept(self, role: str) -> list[Part]:
        """The parts of a tower whose vectors or tokens are kept."""
        return [part for part in self.model.plan[role] if self.covers(part) or self._tokens(part)]

    @property
    def keeps_anything(self) -> bool:
        """Whether there is a table to fill."""
        return bool(self.tables or (self.tokens is not None and self.tokens.tables))

    @property
    def is_complete(self) -> bool:
        """Whether all parts of all towers are kept, so that the data set need not be read again.

        Facts for the head are kept beside vectors, not beside tokens: an encoder that is trained and extracts some
        reads its objects in every epoch.
        """
        encoders = self.model.plan.encoders
        return all(
            self.covers(part) or (self._tokens(part) and encoders[part.encoder].get_meta_extractor() is None)
            for parts in self.model.plan.towers.values()
            for part in parts
        )

    def take(self, part: Part, rows: CachedRows, device: torch.device) -> tuple[Embeddings, Meta]:
        """Embeddings and meta of a part's rows; see `KnownVectors`."""
        name = table_name(part)
        if name not in self._resident:  # at the first batch all data sets have been read
            kind = self.config.type_of(part.encoder)
            self._resident[name] = residence(self.tables[name], kind, self._used[name], self.model.device)
        return self._resident[name].take(rows.rows, device)

    def lookups(self, role: str) -> dict[str, Callable[[list[Any]], Any]]:
        """For each part of a tower that is kept, by name: from its objects to their rows, or tokens."""
        vectors: dict[str, Any] = {part.name: self._lookup(part) for part in self._covered(role)}
        return vectors if self.tokens is None else {**self.tokens.lookups(role), **vectors}

    def find(self, role: str, objects: list[Any]) -> dict[str, Tensor]:
        """For each cached part of a tower, by name, the rows (n,) of n objects; -1 for those that it lacks."""
        return {part.name: self._lookup(part).find(part.pick(objects)) for part in self._covered(role)}

    def _lookup(self, part: Part) -> RowLookup:
        return RowLookup(self.tables[table_name(part)], self.config.key_extractor(part.encoder), part.encoder)

    def fill(
        self, loader: SimilarityDataLoader, check: RelationCheck | None = None, *, progress: bool = True
    ) -> SampleTable | None:
        """Read a data set once and encode, or tokenise, what is new in it.

        Args:
            loader: the data set and how its samples are read.
            check: handed to the table.
            progress: whether to show a progress bar.

        Returns:
            The data set as columns of row numbers, when samples have numbers and everything is kept; else None. Also
            None where queries are transformed, or tokens are kept of what is another text each time it is read.

        Raises:
            ValueError: when the data set has the version of an earlier one and other content.
            LoadError: when a table holds other tokens than the tokenizer gives.
            RuntimeError: when it failed in another process.
        """
        readers = self._readers(loader)
        wants_table = self.is_complete and not loader.is_stream and loader.query_transform is None
        saved = SavedRows.of(self.config, loader, readers, self._all_tables()) if wants_table else None
        known = None if saved is None else saved.read()
        if saved is None or known is None:
            read = together(lambda: self._encode_new(loader, readers, wants_table, progress), "filling the cache")
            sampled = None if saved is None else SampledKeys.of(len(loader.source), readers)  # type: ignore[arg-type]
            rows = {reader.role: reader.rows(self._find) for reader in readers}
            labels = label_columns.concatenate(read) if wants_table else {}
            if saved is not None and sampled is not None and rank() == 0:
                saved.write(labels, rows, sampled)
        else:
            labels, rows, sampled = known
            with suppress(OSError):  # when it was last used, for `prune`; a shared cache may be read-only
                os.utime(saved.path)
            if sampled is not None:
                together(partial(sampled.check, loader, readers), "comparing the data set with its version")
        self._use(readers, rows)
        if not wants_table:
            return None
        recheck = Recheck(loader, readers, self._all_tables(), rows, is_saved=known is not None)
        tokens = {} if self.tokens is None else {role: self.tokens.lookups(role) for role in self.model.plan.towers}
        if any(tokens.values()) and recheck.changed(0) is not None:
            return None  # lookups tokenise what is new in every epoch, as they always did
        return SampleTable(
            loader.kind,
            labels,
            {name: column.values for name, column in rows["query"].items()},
            rows.get("document", {}),
            two_towers=not self.model.is_symmetric,
            check=check,
            recheck=recheck,
            tokens=tokens,
        )

    def _all_tables(self) -> dict[TableName, Table]:
        kept = [part for role in self.model.plan.towers for part in self._kept(role)]
        return {table_name(part): self._table(part) for part in kept}

    def _table(self, part: Part) -> Table:
        tokens = self._tokens(part)
        return self.tables[table_name(part)] if tokens is None else tokens.table

    def add(self, role: str, objects: Sequence[Any]) -> dict[str, CachedRows]:
        """Encode what is new among objects of no data set, such as an evaluation's; all processes give the same ones.

        Args:
            role: the tower that reads them.
            objects: N of them.

        Returns:
            For each cached part of the tower, by name, the rows of the objects.

        Raises:
            RuntimeError: when it failed in another process.
        """
        kept = self._kept(role)
        keys: dict[str, list[NDArray[np.uint8]]] = {part.name: [] for part in kept}

        def encode_new() -> list[Columns]:
            checked: dict[TableName, tuple[Part, list[Any]]] = {}
            for start in range(0, len(objects), CHUNK):
                chunk = list(objects[start : start + CHUNK])
                for part in kept:
                    picked = part.pick(chunk)
                    own = keys_of(picked, self._extractor(part), part.encoder)
                    keys[part.name].append(own)
                    self._keep_new(part, picked, own, False)
                    checked.setdefault(table_name(part), (part, picked[:CHECKED]))
            self._flush(checked)
            return []

        together(encode_new, "filling the cache")
        parts = self._covered(role)
        rows = {part.name: self._find(part, np.concatenate(keys[part.name])) for part in parts if len(objects)}
        for part in parts:
            if part.name in rows:
                self._used[table_name(part)].append(torch.unique(rows[part.name]))
        self._resident.clear()
        return {name: CachedRows(found) for name, found in rows.items()}

    def _readers(self, loader: SimilarityDataLoader) -> list[RoleReader]:
        roles = ("query",) if loader.kind.shared else ("query", "document")
        readers = []
        for role in roles:
            parts = self._kept(role)
            extractors = [self._extractor(part) for part in parts]
            readers.append(RoleReader(role, parts, loader.kind, extractors))
        return readers

    def _encode_new(
        self, loader: SimilarityDataLoader, readers: list[RoleReader], wants_labels: bool, progress: bool
    ) -> list[Columns]:
        """Read the data set and encode this process's share of what is new; gives the labels."""
        labels: list[Columns] = []
        checked: dict[TableName, tuple[Part, list[Any]]] = {}
        size = None if loader.is_stream else len(loader.source)  # type: ignore[arg-type]
        encoded = 0
        self._growth = Growth(size, self.config.dtype)
        with Bar(total=size, desc="Caching", unit="sample", leave=False, disable=not progress or rank() > 0) as bar:
            for samples in read_in_chunks(loader.source, self.config.num_workers):
                if wants_labels:
                    labels.append({**loader.kind.labels(samples), **loader.kind.ids(samples)})
                for reader in readers:
                    for part, objects, keys in reader.read(samples):
                        encoded += self._keep_new(part, objects, keys, loader.sharded)
                        checked.setdefault(table_name(part), (part, objects[:CHECKED]))
                self._growth.tell(len(samples))
                bar.update(len(samples))
                bar.set_postfix(encoded=encoded, refresh=False)
        self._flush(checked)
        return labels

    def _keep_new(self, part: Part, objects: Sequence[Any], keys: NDArray[np.uint8], sharded: bool) -> int:
        """Encode, or tokenise, this process's share of what a part's table lacks; gives how many that were."""
        new = own_share(self._table(part).missing(keys), keys, sharded)
        if len(new):
            chosen, tokens = [objects[row] for row in new], self._tokens(part)
            if tokens is None:
                self._encode(part, chosen, keys[new])
            else:
                tokens.keep(keys[new], chosen)
        return len(new)

    def _flush(self, read: Mapping[TableName, tuple[Part, list[Any]]]) -> None:
        """Commit what is new, and compare a few of the objects that were read with their tokens."""
        for table in self._all_tables().values():
            if isinstance(table, DiskTable):
                table.flush()
        for part, objects in read.values():
            tokens = self._tokens(part)
            if tokens is not None:
                tokens.check(objects)

    def _extractor(self, part: Part) -> KeyExtractor | None:
        return None if self._tokens(part) else self.config.key_extractor(part.encoder)

    def _encode(self, part: Part, objects: list[Any], keys: NDArray[np.uint8]) -> None:
        """Encode new objects of a part and keep them by key."""
        encoder = self.model.plan.encoders[part.encoder]
        collator = TowerCollator.of((part,), self.model.plan.encoders)
        extract = collator.meta_extractors[0]
        meta = columns.columns(extract(objects)) if extract is not None else {}
        device = next((tensor.device for tensor in (*encoder.parameters(), *encoder.buffers())), self.model.device)
        dtype = self.config.autocast

        def encode_batch(batch: list[Any]) -> Embeddings:
            encoded: Any = encoder(cast(move(collator.collate_fns[0](batch), device), encoder))
            return encoded if isinstance(encoded, Embeddings) else Embeddings(encoded)

        with torch.no_grad(), nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype):
            embeddings = encode_in_batches(objects, encode_batch, batch_size=self.config.batch_size)
        self._growth.add(part.name, embeddings)
        self.tables[table_name(part)].append(keys, embeddings, meta)

    def _find(self, part: Part, keys: NDArray[np.uint8]) -> Tensor:
        return self._table(part).rows(keys)

    def _use(self, readers: Sequence[RoleReader], rows: dict[str, dict[str, Ragged]]) -> None:
        for reader in readers:
            for part in filter(self.covers, reader.parts):
                self._used[table_name(part)].append(rows[reader.role][part.name].values)
        self._resident.clear()
