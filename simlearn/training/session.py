"""What one fit reads: the user's loaders bound to the model, and the cache that is filled for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from simlearn.cache import CacheConfig, EmbeddingCache
from simlearn.cache.changed_queries import refuse_changed_queries
from simlearn.data import Batch, BatchCollator, BoundLoader, SampleTable, SimilarityDataLoader
from simlearn.data.kinds.sample_kind import as_tensor
from simlearn.embeddings import Embeddings
from simlearn.encoding import encode_in_batches, encode_shared, evaluating
from simlearn.losses import SimilarityLoss
from simlearn.models import SimilarityModel
from simlearn.negatives.memory import EarlierDocuments, Origins
from simlearn.ragged import offsets_of
from simlearn.towers.chunks import collate_in_chunks, embed_in_chunks
from simlearn.towers.inputs import CachedRows, Inputs
from simlearn.towers.token_budget import Lookups
from simlearn.training.stage import TrainStage

_ROWS_AT_ONCE = 4096
"""Objects that go through the head at once when all their embeddings are cached."""


class Session:
    """The data of one fit. It reads the loaders, the model and the loss, and changes none of them.

    Args:
        model: whose towers read the objects.
        loss: which refuses labels that it cannot use.
        loaders: by stage.
        chunk_size: how many objects a tower encodes at once; None for the whole batch.
        chunk_tokens: how many tokens a tower encodes at once, instead.
        keeps_documents: whether training batches of streams bring their documents along, which nobody can read again.
    """

    def __init__(
        self,
        model: SimilarityModel,
        loss: SimilarityLoss,
        loaders: Mapping[TrainStage, SimilarityDataLoader],
        chunk_size: int | None = None,
        chunk_tokens: int | None = None,
        keeps_documents: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self.loaders = dict(loaders)
        self.chunk_size = chunk_size
        self.chunk_tokens = chunk_tokens
        self.keeps_documents = keeps_documents
        self.cache: EmbeddingCache | None = None
        self._tables: dict[TrainStage, SampleTable | None] = {}
        self._bound: list[tuple[TrainStage, BoundLoader]] = []
        # The lists are kept beside their rows, or Python might give their address to others.
        self._kept: dict[tuple[str, int], tuple[list[Any], dict[str, Tensor]]] = {}

    def fill_cache(self, config: CacheConfig, progress: bool) -> None:
        """Encode what frozen encoders read, each distinct object once; the model must be on its device."""
        self.cache = EmbeddingCache(self.model, config)
        for stage in self.loaders:
            self.refresh(stage, progress)

    def refresh(self, stage: TrainStage, progress: bool = False) -> None:
        """Read the data of a stage anew, whose samples may have become others, such as negatives that were mined.

        What is new in it goes into the caches, and the loaders that were bound to the stage give the new samples from
        the next epoch on, or from this one before its first batch. All processes call it.
        """
        loader = self.loaders[stage]
        if self.cache is not None and self.cache.keeps_anything:
            if stage is TrainStage.TRAIN:
                refuse_changed_queries(self.cache, loader)
            check = self.loss.relation_check(stage is TrainStage.TRAIN)
            table = self.cache.fill(loader, check, progress=progress)
            if table is not None:
                log_q = loader.log_q(as_tensor(table.kind.document_ids(table.columns)))
                table = replace(table, chunk_size=self.chunk_size, chunk_tokens=self.chunk_tokens, log_q=log_q)
            self._tables[stage] = table
        table = self._tables.get(stage)
        for bound in [bound for bound_to, bound in self._bound if bound_to is stage]:
            bound.table = table
            if table is None and isinstance(bound.collate, BatchCollator):
                bound.collate = replace(bound.collate, log_q=loader.log_q())

    def keep(self, objects: list[Any], role: str) -> None:
        """Take objects of no loader into the caches, each distinct one once; all processes give the same ones.

        `encode` then reads the rows of this very list without looking at its objects.
        """
        if self.cache is not None and self.cache.keeps_anything:
            rows = {name: found.rows for name, found in self.cache.add(role, objects).items()}
            self._kept[role, id(objects)] = objects, rows

    def encode(
        self, objects: list[Any], role: str, grad: bool = False, *, batch_size: int = 64, shared: bool = False
    ) -> Embeddings:
        """Embed objects as a step does: what the cache holds is read there, the rest is encoded, and not kept.

        Args:
            objects: N objects.
            role: the tower that reads them.
            grad: encode with gradients, in the mode that the model is in and in the session's chunks; else in eval
                mode, without gradients or autocast.
            batch_size: how many objects are encoded at once without gradients.
            shared: whether all processes give the same objects: each then encodes its share, and all get all of them.

        Returns:
            (N, D) or (N, M, D), in the order of the objects; (0, D) or (0, 0, D) of none.
        """
        if not objects:
            return self.model.tower(role).embeddings_of_nothing()

        def encode(part: slice) -> Embeddings:
            return self._encode(objects[part], role, self._rows(objects, role, part), grad, batch_size)

        with nullcontext() if grad else self._inference():
            return encode_shared(len(objects), encode) if shared else encode(slice(0, len(objects)))

    @contextmanager
    def _inference(self) -> Iterator[None]:
        with evaluating(self.model), torch.no_grad(), torch.autocast(self.model.device.type, enabled=False):
            yield

    def _rows(self, objects: list[Any], role: str, part: slice) -> dict[str, Tensor]:
        """For each cached part of a tower, by name, the rows of some objects, -1 where the cache lacks them."""
        if (role, id(objects)) in self._kept:
            return {name: rows[part] for name, rows in self._kept[role, id(objects)][1].items()}
        return {} if self.cache is None else self.cache.find(role, objects[part])

    def _encode(
        self, objects: list[Any], role: str, rows: Mapping[str, Tensor], grad: bool, batch_size: int
    ) -> Embeddings:
        tower, device = self.model.tower(role), self.model.device
        collate, lookups = tower.collator(), self.lookups(role)

        def embed(chosen: list[Any], known: Lookups) -> Embeddings:
            if grad:
                inputs = collate_in_chunks(collate, chosen, self.chunk_size, self.chunk_tokens, known)
                return embed_in_chunks(tower, inputs.to(device), self.cache)
            return encode_in_batches(
                chosen, lambda batch: tower.embed(collate(batch, known).to(device), self.cache), batch_size=batch_size
            )

        cached = torch.stack([one >= 0 for one in rows.values()]).all(0) if rows else torch.ones(1, dtype=torch.bool)
        if not cached.all():  # a batch of both would be encoded as a whole
            uncached = {name: lookup for name, lookup in lookups.items() if name not in rows}
            places = [cached.nonzero()[:, 0], (~cached).nonzero()[:, 0]]
            chosen = [[objects[place] for place in own.tolist()] for own in places]
            parts = [embed(own, known) for own, known in zip(chosen, (lookups, uncached), strict=True) if own]
            return Embeddings.concatenate(parts).take(torch.cat(places).argsort().to(device))
        if set(rows) != {part.name for part in tower.parts}:
            return embed(objects, lookups)
        size = len(objects) if grad else _ROWS_AT_ONCE
        pieces = zip(*(torch.split(one, size) for one in rows.values()), strict=True)
        inputs = (Inputs(dict(zip(rows, map(CachedRows, piece), strict=True)), {}, len(piece[0])) for piece in pieces)
        return Embeddings.concatenate([tower.embed(one, self.cache) for one in inputs])

    def bound(self, stage: TrainStage, rank: int, world_size: int) -> BoundLoader:
        """One process's share of the batches of a stage."""
        loader, training = self.loaders[stage], stage is TrainStage.TRAIN
        table = self._tables.get(stage)
        collator = BatchCollator(
            loader.kind,
            self.model.tower("query").collator(),
            None if self.model.is_symmetric else self.model.tower("document").collator(),
            self.loss.relation_check(training),
            self.lookups("query"),
            self.lookups("document"),
            self.chunk_size,
            self.chunk_tokens,
            log_q=None if table is not None else loader.log_q(),  # a table has its own
            keeps_documents=self.keeps_documents and training and loader.is_stream,
        )
        bound = loader.bind(collator, training=training, rank=rank, world_size=world_size, table=table)
        self._bound.append((stage, bound))
        return bound

    def documents_at(self, stage: TrainStage, origins: Origins) -> list[Any]:
        """Documents of earlier batches, read again, such as to `encode` them with the weights of the moment.

        Args:
            stage: of the batches.
            origins: where K documents came from; see `Batch`.

        Returns:
            K objects, as they are in the user's data now.

        Raises:
            TypeError: for a stream, whose samples have no numbers.
        """
        if not isinstance(origins, Tensor):
            return origins
        loader = self.loaders[stage]
        if loader.is_stream:
            raise TypeError("the samples of a stream cannot be read again; keep what you need of them")
        source: Any = loader.source
        numbers, sample_of = torch.unique(origins[:, 0].cpu(), return_inverse=True)
        samples = source.__getitems__(numbers.tolist())
        if loader.kind.shared:
            objects, counts = loader.kind.queries(samples), [1] * len(samples)
        else:
            objects, counts = loader.kind.documents(samples)
        places = offsets_of(torch.tensor(counts))[sample_of] + origins[:, 1].cpu()
        return [objects[place] for place in places.tolist()]

    def earlier(self, stage: TrainStage) -> EarlierDocuments:
        """The documents of the batches of a stage, for memories."""
        return _Earlier(self, stage)

    def batch_count(self, stage: TrainStage, world_size: int) -> int | None:
        """How many batches one process gets in an epoch; None for a stream."""
        training = stage is TrainStage.TRAIN
        return self.loaders[stage].bind(list, training=training, world_size=world_size).batch_count

    def lookups(self, role: str) -> Lookups:
        """For each part of a tower that is cached, by name: from its objects to their rows, or tokens."""
        return {} if self.cache is None else self.cache.lookups(role)

    def embed(self, batch: Batch) -> tuple[Embeddings, Embeddings]:
        """The embeddings of a batch's queries and documents; the same object twice where they are the same objects."""
        first = embed_in_chunks(self.model.tower("query"), batch.query, self.cache)
        if batch.document is not None:
            return first, embed_in_chunks(self.model.tower("document"), batch.document, self.cache)
        if batch.relation.is_shared:
            return first, first
        queries, documents = first.split([batch.relation.n_queries, batch.relation.n_documents])
        return queries, documents


@dataclass(frozen=True)
class _Earlier:
    """See `EarlierDocuments`."""

    session: Session
    stage: TrainStage

    def encode(self, origins: Origins, grad: bool, shared: bool) -> Embeddings:
        return self.session.encode(self.read(origins), "document", grad=grad, shared=shared)

    def read(self, origins: Origins) -> list[Any]:
        return self.session.documents_at(self.stage, origins)
