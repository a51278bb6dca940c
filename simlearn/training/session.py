"""What one fit reads: the user's loaders bound to the model, and the cache that is filled for them."""

from __future__ import annotations

from collections.abc import Mapping

from simlearn.cache import CacheConfig, EmbeddingCache
from simlearn.cache.token_cache import TokenCache
from simlearn.data import Batch, BatchCollator, BoundLoader, SampleTable, SimilarityDataLoader
from simlearn.data.batch import Lookups
from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.models import SimilarityModel
from simlearn.towers.chunks import embed_in_chunks
from simlearn.training.stage import TrainStage


class Session:
    """The data of one fit. It reads the loaders, the model and the loss, and changes none of them.

    Args:
        model: whose towers read the objects.
        loss: which refuses labels that it cannot use.
        loaders: by stage.
        chunk_size: how many objects a tower encodes at once; None for the whole batch.
        chunk_tokens: how many tokens a tower encodes at once, instead.
    """

    def __init__(
        self,
        model: SimilarityModel,
        loss: SimilarityLoss,
        loaders: Mapping[TrainStage, SimilarityDataLoader],
        chunk_size: int | None = None,
        chunk_tokens: int | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.loaders = dict(loaders)
        self.chunk_size = chunk_size
        self.chunk_tokens = chunk_tokens
        self.cache: EmbeddingCache | None = None
        self.tokens: TokenCache | None = None
        self._tables: dict[TrainStage, SampleTable | None] = {}

    def fill_cache(self, config: CacheConfig, progress: bool) -> None:
        """Encode what frozen encoders read, each distinct object once; the model must be on its device."""
        self.cache = EmbeddingCache(self.model, config)
        if self.cache.tables:
            for stage, loader in self.loaders.items():
                check = self.loss.relation_check(stage is TrainStage.TRAIN)
                self._tables[stage] = self.cache.fill(loader, check, progress=progress)
        if config.tokens:
            self.tokens = TokenCache(self.model, config.save_dir)
            for loader in self.loaders.values():
                self.tokens.fill(loader, num_workers=config.num_workers, progress=progress)

    def bound(self, stage: TrainStage, rank: int, world_size: int) -> BoundLoader:
        """One process's share of the batches of a stage."""
        loader, training = self.loaders[stage], stage is TrainStage.TRAIN
        collator = BatchCollator(
            loader.kind,
            self.model.tower("query").collator(),
            None if self.model.is_symmetric else self.model.tower("document").collator(),
            self.loss.relation_check(training),
            self.lookups("query"),
            self.lookups("document"),
            self.chunk_size,
            self.chunk_tokens,
        )
        table = self._tables.get(stage)
        return loader.bind(collator, training=training, rank=rank, world_size=world_size, table=table)

    def lookups(self, role: str) -> Lookups:
        """For each part of a tower that is cached, by name: from its objects to their rows, or tokens."""
        caches = (self.tokens, self.cache)
        return {name: lookup for cache in caches if cache is not None for name, lookup in cache.lookups(role).items()}

    def embed(self, batch: Batch) -> tuple[Embeddings, Embeddings]:
        """The embeddings of a batch's queries and documents; the same object twice where they are the same objects."""
        first = embed_in_chunks(self.model.tower("query"), batch.query, self.cache)
        if batch.document is not None:
            return first, embed_in_chunks(self.model.tower("document"), batch.document, self.cache)
        if batch.relation.is_shared:
            return first, first
        queries, documents = first.split([batch.relation.n_queries, batch.relation.n_documents])
        return queries, documents
