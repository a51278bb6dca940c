"""A batch on its way to the model: the inputs of the towers and the relation of their objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from simlearn.data.columns import Columns, take
from simlearn.data.kinds import SampleKind
from simlearn.data.log_q import LogQSource
from simlearn.data.query_transform import QueryTransform
from simlearn.ragged import Ragged, entries
from simlearn.relations import Relation, RelationCheck
from simlearn.targets import Targets
from simlearn.towers.chunks import collate_in_chunks
from simlearn.towers.inputs import InputChunks, Inputs
from simlearn.towers.plan import TowerCollator
from simlearn.towers.token_budget import Lookups, TokenTable, select_inputs


@dataclass(frozen=True)
class SampleBatch:
    """A batch of raw objects: what a loader gives when it is iterated by itself.

    Args:
        queries: N objects.
        documents: M objects; the same list where queries and documents are the same objects.
        relation: which of them are similar.
        counts: how many documents each sample has; 1 where they are the queries.
    """

    queries: list[Any]
    documents: list[Any]
    relation: Relation
    counts: Sequence[int] = ()


class Batch:
    """A batch for a model.

    No dataclass: Lightning takes those apart and refuses frozen ones, where it has to know nothing but `to`.

    Args:
        query: what the query tower encodes; for a symmetric model the queries and then the documents.
        document: what the document tower encodes; None for a symmetric model.
        targets: what is said of them, such as which of them are similar.
        size: the number of samples.
        origins: (M, 2) int64, where the documents came from, so that one that is remembered can be read again: the
            number of its sample, and its place among the documents of that. Of a stream the M documents themselves,
            where somebody asked for them, and else None.
    """

    def __init__(
        self,
        query: Inputs | InputChunks,
        document: Inputs | InputChunks | None,
        targets: Targets,
        size: int,
        origins: Tensor | list[Any] | None = None,
    ) -> None:
        self.query = query
        self.document = document
        self.targets = targets
        self.size = size
        self.origins = origins

    @property
    def relation(self) -> Relation:
        """The targets, where they tell which objects are similar.

        Raises:
            TypeError: for other targets.
        """
        if not isinstance(self.targets, Relation):
            raise TypeError(f"a relation is needed, this batch has {type(self.targets).__name__} as targets")
        return self.targets

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        document = None if self.document is None else self.document.to(device, non_blocking)
        query, targets = self.query.to(device, non_blocking), self.targets.to(device, non_blocking)
        origins = self.origins
        if isinstance(origins, Tensor):
            origins = origins.to(device, non_blocking=non_blocking)
        return Batch(query, document, targets, self.size, origins)

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory. torch's DataLoader asks for it, where it has `pin_memory=True`."""
        return Batch(*map(_pinned, (self.query, self.document, self.targets, self.size, self.origins)))


def _pinned(value: Any) -> Any:
    """Pin tensors in any nesting; the rest stays as it is."""
    if isinstance(value, Tensor):
        return value.pin_memory()
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _pinned(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _pinned(one) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_pinned, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_pinned, value))
    return value.pin_memory() if hasattr(value, "pin_memory") else value


def collate_samples(kind: SampleKind, samples: Sequence[Any]) -> SampleBatch:
    """The objects of samples and how they relate."""
    queries, (documents, counts) = kind.queries(samples), kind.documents(samples)
    relation = kind.targets({**kind.labels(samples), **kind.ids(samples)})
    if kind.shared:
        return SampleBatch(queries, queries, relation, [1] * len(queries))
    return SampleBatch(queries, documents, relation, counts)


def with_log_q(relation: Relation, log_q: LogQSource | None) -> Relation:
    """A relation that tells how often its documents are drawn, where somebody knows.

    Raises:
        ValueError: for what are no logarithms of probabilities.
    """
    if log_q is None or relation.document_ids is None:
        return relation
    told = log_q(relation.document_ids)
    if told.shape != (relation.n_documents,) or not bool((told <= 1e-6).all() & told.isfinite().all()):
        raise ValueError(
            f"document_log_q must give the logarithms of probabilities, finite numbers of 0 or less, of "
            f"{relation.n_documents} documents; got {tuple(told.shape)} of up to {float(told.max()):g}"
        )
    return replace(relation, document_log_q=told.float())


def origins_of(numbers: Tensor, counts: Tensor) -> Tensor:
    """(M, 2) the sample of each document and its place there, of (B,) sample numbers and how many each has (B,)."""
    owners, places = entries(counts)
    return torch.stack([numbers[owners], places], dim=1)


@dataclass(frozen=True)
class BatchCollator:
    """From samples to a batch. Picklable where the encoders' collate functions are, so that workers can have it.

    Args:
        kind: the kind of samples.
        query: the query tower's collator.
        document: the document tower's; None for a symmetric model.
        check: refuses labels that the loss cannot use.
        query_lookups: the cached parts of the query tower.
        document_lookups: the cached parts of the document tower.
        chunk_size: cut what a tower encodes into parts of so many objects, each padded for itself; None does not.
        chunk_tokens: cut it into parts of so many tokens instead, objects of one length together.
        transform: what is done to the queries of this epoch.
        log_q: how often documents are drawn.
        keeps_documents: whether batches of samples without numbers bring their documents along.
    """

    kind: SampleKind
    query: TowerCollator
    document: TowerCollator | None = None
    check: RelationCheck | None = None
    query_lookups: Lookups | None = None
    document_lookups: Lookups | None = None
    chunk_size: int | None = None
    chunk_tokens: int | None = None
    transform: QueryTransform | None = None
    log_q: LogQSource | None = None
    keeps_documents: bool = False

    def __call__(
        self,
        samples: Sequence[Any],
        numbers: Sequence[int] | None = None,
        places: Sequence[int] | None = None,
        shard: int = 0,
    ) -> Batch:
        """Collate N samples.

        Args:
            samples: of this kind.
            numbers: of the samples in their data set, where they have any.
            places: of the samples in a stream, instead.
            shard: the part of the stream that the places are counted in.
        """
        raw = collate_samples(self.kind, samples)
        origins: Tensor | list[Any] | None = raw.documents if self.keeps_documents else None
        if numbers is not None:
            origins = origins_of(torch.tensor(numbers), torch.tensor(raw.counts))
        relation = with_log_q(replace(raw.relation, one_space=self.document is None), self.log_q)
        if self.check is not None:
            self.check(relation)
        if self.transform is not None:
            if numbers is not None:
                queries = self.transform(raw.queries, numbers)
            else:
                queries = self.transform(raw.queries, range(len(samples)) if places is None else places, shard)
            raw = replace(raw, queries=queries)
        if self.document is not None:
            documents = self._collate(self.document, raw.documents, self.document_lookups)
            own = self._collate(self.query, raw.queries, self.query_lookups)
            return Batch(own, documents, relation, len(samples), origins)
        objects = raw.queries if self.kind.shared else raw.queries + raw.documents
        return Batch(self._collate(self.query, objects, self.query_lookups), None, relation, len(samples), origins)

    def _collate(self, tower: TowerCollator, objects: list[Any], lookups: Lookups | None) -> Inputs | InputChunks:
        return collate_in_chunks(tower, objects, self.chunk_size, self.chunk_tokens, lookups)


@dataclass(frozen=True)
class SampleTable:
    """A data set whose embeddings or tokens are all cached: its labels as columns, its objects as row numbers.

    A batch is then a selection of numbers; the data set is not read again, and no Python object is made for a sample.

    Args:
        kind: the kind of samples.
        columns: the labels and object ids.
        query_rows: (N,) rows in the cache for each part of the query tower.
        document_rows: the documents' rows, ragged, for each part of the document tower; empty where they are the
            queries.
        two_towers: whether documents have a tower of their own.
        check: refuses labels that the loss cannot use.
        recheck: called with the number of each epoch before its first batch; raises when the data set is not what it
            was.
        tokens: for each tower, by its role, the parts whose rows are of tokens.
        chunk_size: see `BatchCollator`.
        chunk_tokens: likewise.
        log_q: likewise.
    """

    kind: SampleKind
    columns: Columns
    query_rows: dict[str, Tensor]
    document_rows: dict[str, Ragged]
    two_towers: bool
    check: RelationCheck | None = None
    recheck: Callable[[int], None] | None = None
    tokens: Mapping[str, Mapping[str, TokenTable]] = field(default_factory=dict)
    chunk_size: int | None = None
    chunk_tokens: int | None = None
    log_q: LogQSource | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def batch(self, rows: Tensor) -> Batch:
        """The samples at (B,) `rows`."""
        columns = take(self.columns, rows)
        relation = with_log_q(replace(self.kind.targets(columns), one_space=not self.two_towers), self.log_q)
        if self.check is not None:
            self.check(relation)
        ids = self.kind.document_ids(columns)
        origins = origins_of(rows, ids.lengths if isinstance(ids, Ragged) else torch.ones_like(rows))
        queries = {name: column[rows] for name, column in self.query_rows.items()}
        documents = {name: column.take(rows).values for name, column in self.document_rows.items()}
        if self.two_towers:
            document = self._inputs("document", documents)
            return Batch(self._inputs("query", queries), document, relation, len(rows), origins)
        if documents:
            queries = {name: torch.cat([queries[name], documents[name]]) for name in queries}
        return Batch(self._inputs("query", queries), None, relation, len(rows), origins)

    def _inputs(self, role: str, rows: dict[str, Tensor]) -> Inputs | InputChunks:
        return select_inputs(rows, self.tokens.get(role, {}), self.chunk_size, self.chunk_tokens)
