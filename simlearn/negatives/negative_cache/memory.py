"""A negative cache that a training fills and asks."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.negatives.memory import EncodeOrigins, Memory
from simlearn.negatives.negative_cache.cache import NegativeCache
from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.rows import cells_of_ids
from simlearn.negatives.negative_cache.together import Drawn
from simlearn.relations import Relation, RelationKind, Remembered
from simlearn.scoring import Scorer


class NegativeCacheMemory(Memory):
    """The documents of earlier batches, each once, and where they came from, so that they can be encoded again.

    What a query is known to be similar to, what it was judged against, what is the same object and what is of its
    subgroup is no negative of it, whether its batch says so or the one that a document came with.

    Args:
        config: how many documents, and how negatives are drawn.
        loss: whose softmax they stand in; it is not kept.
        scorer: of the model.
        embedding_size: of the document tower.

    Raises:
        TypeError: for a loss that takes no further logit.
    """

    origins: Tensor
    owners: Tensor
    subgroups: Tensor

    def __init__(self, config: NegativeCacheConfig, loss: SimilarityLoss, scorer: Scorer, embedding_size: int) -> None:
        super().__init__()
        if not loss.takes_extra:
            raise TypeError(
                f"{type(loss).__name__} takes no further logit, which is what a negative cache adds to a softmax; take "
                "MultipleNegativesRankingLoss or InfoNCELoss, or remember whole batches with configure_xbm"
            )
        self.config = config
        self.cache = NegativeCache(config, embedding_size, scorer)
        self.register_buffer("origins", torch.full((config.size, 2), -1, dtype=torch.long))
        self.register_buffer("owners", torch.zeros(config.size, dtype=torch.long))
        self.register_buffer("subgroups", torch.zeros(config.size, dtype=torch.long))
        self._encode: EncodeOrigins | None = None
        self._figures: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.cache)

    def check(self, kind: RelationKind, is_stream: bool) -> None:
        """Refuse samples without documents of their own, and streams.

        Raises:
            TypeError: naming what remembers them.
        """
        if kind not in (RelationKind.PAIRS, RelationKind.RANKING):
            raise TypeError(
                f"a negative cache keeps the documents of pairs and rankings, not those of {kind.value}; remember "
                "objects of groups and labels with configure_xbm"
            )
        if is_stream:
            raise TypeError(
                "a negative cache encodes documents of earlier batches again, and the samples of a stream cannot be "
                "read again; give a data set with numbered samples (ShardedDataset(...).to_memory()), or configure_xbm"
            )

    def beside(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        encode: EncodeOrigins,
    ) -> Tensor | None:
        """The logit of the whole cache against each query; None until it is filled as far as it should be."""
        self._encode = encode
        self._figures = {}
        if len(self) < max(1, self.config.start_filled * self.config.size):
            return None
        own = self._own(relation)
        extra, drawn = self.cache.extra(
            queries, lambda rows: encode(self.origins[rows], True), own, scale=loss.logit_scale
        )
        self._figures = self._told(drawn, own)
        return extra

    @torch.no_grad()
    def remember(self, documents: Embeddings, relation: Relation, origins: Tensor | None = None) -> None:
        """Take in a batch's documents, and bring the oldest of the others up to date, if that is wanted.

        Raises:
            ValueError: for documents without ids.
        """
        if relation.document_ids is None or origins is None:
            raise ValueError("a negative cache needs the ids of documents, and where they came from")
        known = Remembered.of(relation)
        before = len(self)
        rows = self.cache.insert(documents, relation.document_ids)
        kept = rows >= 0
        self.origins[rows[kept]] = origins.to(rows.device)[kept]
        for column, told in ((self.owners, known.owner_ids), (self.subgroups, known.subgroups)):
            if told is not None:
                column[rows[kept]] = told.to(rows.device)[kept]
        self._figures["cache_duplicates"] = torch.tensor(float(len(rows) - (len(self) - before)))
        if self.config.refresh and self._encode is not None:
            oldest = self.cache.oldest(self.config.refresh)
            self.cache.refresh(oldest, self._encode(self.origins[oldest], False))

    def figures(self) -> dict[str, Tensor]:
        """`cache_staleness`, `cache_positive_hits`, `cache_duplicates`, `cache_fill`, `cache_age` and its 95th part."""
        ages = self.cache.ages.float()
        told = {**self._figures, "cache_fill": torch.tensor(len(self) / self.config.size)}
        return {**told, "cache_age": ages.mean(), "cache_age_p95": ages.quantile(0.95)} if len(ages) else told

    def _told(self, drawn: Drawn, own: Tensor) -> dict[str, Tensor]:
        there = drawn.rows >= 0
        hits = cells_of_ids(self.cache.ids[: len(self)], own.T).shape[1]
        return {
            "cache_staleness": drawn.staleness.sum() / there.sum().clamp(min=1),
            "cache_positive_hits": torch.tensor(float(hits)),
        }

    def _own(self, relation: Relation) -> Tensor:
        """(J, 2) queries and ids of documents that are no negatives of theirs, whatever is in the cache."""
        if relation.document_ids is None or relation.query_ids is None:
            raise ValueError("a negative cache needs the ids of queries and documents")
        count = len(self)
        rows = torch.arange(relation.n_queries, device=relation.device)
        asking = torch.stack([rows, relation.query_ids])
        judged = torch.stack([relation.judged_queries, relation.document_ids[relation.judged_documents]])
        queries, cells = cells_of_ids(self.owners[:count], asking)
        pairs = [judged, asking, torch.stack([queries, self.cache.ids[cells]])]
        groups = relation.query_subgroups
        if groups is not None:
            grouped = groups != 0
            queries, cells = cells_of_ids(self.subgroups[:count], torch.stack([rows, groups])[:, grouped])
            pairs.append(torch.stack([queries, self.cache.ids[cells]]))
        return torch.cat(pairs, dim=1).T
