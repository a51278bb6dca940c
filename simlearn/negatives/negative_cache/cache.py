"""The embeddings of the latest documents, and what a softmax over all of them adds to a loss.

Let L be the log-sum-exp of a query's logits over the cache, whose embeddings are stale and have no gradient, and s the
logit of one document n that is drawn from that softmax and encoded anew. One more logit against the query,
`L + (s − s.detach())`, has the value of the whole cache and the gradient of the one document: on average that of the
softmax over all (Lindgren, Reddi, Guo & Kumar 2021, "Efficient Training of Retrieval Models using Negative Cache").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.draws import Chances
from simlearn.negatives.negative_cache.rows import cells_of_ids, last_of_each, rows_of_ids
from simlearn.negatives.negative_cache.sampling import Found, Numbers, find
from simlearn.negatives.negative_cache.together import Drawn, EncodeAgain, draw_together
from simlearn.precision import at_least_single
from simlearn.scoring import DotScorer, Scorer
from simlearn.tiles import cuts, tile_shape

TILE_BYTES = 32 * 2**20
_PAIR_BYTES = 16
"""A logit, its exponential and what a log-sum-exp or a top-k makes besides."""


class NegativeCache(nn.Module):
    """The latest documents, for a softmax over all of them.

    In a loop of one's own::

        cache = NegativeCache(NegativeCacheConfig(131_072, top_k=64), embedding_size=384, scale=20.0)
        for queries, documents, ids in batches:
            q, d = query_encoder(queries), document_encoder(documents)
            negatives, drawn = cache.extra(q, encode_again, ids)
            loss = F.softplus(negatives - 20.0 * (q * d).sum(1)).mean()  # softmax over the positive and the cache
            loss.backward()
            cache.insert(d, ids)

    Args:
        config: how many documents, and how negatives are drawn.
        embedding_size: D, of the documents.
        scorer: how embeddings compare; None for the dot product. Where it has no parameters, documents are kept as it
            prepares them.
        scale: multiplied with the scores, 1 / temperature.
        score_transform: any increasing function of the scores, instead.

    Raises:
        ValueError: for a scale of 0 or less, or both a scale and a transform.
    """

    embeddings: Tensor
    ids: Tensor
    written: Tensor
    state: Tensor

    def __init__(
        self,
        config: NegativeCacheConfig,
        embedding_size: int,
        scorer: Scorer | None = None,
        scale: float = 1.0,
        score_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale is 1 / temperature and must be above 0, got {scale}")
        if scale != 1 and score_transform is not None:
            raise ValueError("the scale is part of the score_transform: give one of the two")
        self.config = config
        self._scorer = (scorer if scorer is not None else DotScorer(),)  # no part of this: it is the model's
        self.scale = scale
        self.score_transform = score_transform
        self.register_buffer("embeddings", torch.zeros(config.size, embedding_size, dtype=config.dtype))
        self.register_buffer("ids", torch.zeros(config.size, dtype=torch.long))
        self.register_buffer("written", torch.zeros(config.size, dtype=torch.int32))
        # How many rows are filled, the row of the next document by "fifo", insertions and draws so far, and the size.
        self.register_buffer("state", torch.tensor([0, 0, 0, 0, config.size]))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NegativeCache:
        """Moves the tensors, but not embeddings that stay on the CPU."""
        stays = self.embeddings if self.config.device == "cpu" else None
        if stays is not None:
            self._buffers["embeddings"] = None
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            if stays is not None:
                self._buffers["embeddings"] = stays
        return self

    @property
    def size(self) -> int:
        """The most documents here; of a shard fewer than its configuration says of all."""
        return len(self.embeddings)

    def __len__(self) -> int:
        return int(self.state[0])

    @property
    def scorer(self) -> Scorer:
        """How embeddings compare."""
        return self._scorer[0]

    def oldest(self, count: int) -> Tensor:
        """The rows (at most count,) of the documents that were encoded longest ago, the oldest first."""
        key = self.written[: len(self)].long() * self.size + torch.arange(len(self), device=self.written.device)
        return key.topk(min(count, len(key)), largest=False).indices

    @property
    def ages(self) -> Tensor:
        """(n,) int64: how many insertions ago each document was encoded."""
        return (self.state[2] - self.written[: len(self)]).clamp(min=0)

    def extra(
        self,
        queries: Tensor | Embeddings,
        encode_again: EncodeAgain,
        ids: Tensor | None = None,
        scale: Tensor | float | None = None,
    ) -> tuple[Tensor, Drawn]:
        """What the cache adds to a softmax: one more logit against each query.

        Args:
            queries: N embeddings, with gradients.
            encode_again: encodes the documents that are drawn, with gradients; each once.
            ids: (N,) int64 of each query's positive, or (J, 2) of queries (their rows) and documents (their ids): what
                is no negative though it is in the cache.
            scale: instead of the cache's own, such as one that is learnt.

        Returns:
            (N,) logits, −inf of an empty cache, and what they are made of. Drawn rows are brought up to date.

        Raises:
            TypeError: for documents of many vectors.
            ValueError: for embeddings that are not finite, or not as many as there are rows.
        """
        asked = queries if isinstance(queries, Embeddings) else Embeddings(queries)
        own = self._own(ids, len(asked))
        return draw_together([self], asked, [encode_again], own, self.next_chances(), scale)

    def next_chances(self, first: int = 0) -> Chances:
        """Those of the next draw, for queries the first of which is number `first` of those of all processes."""
        draws, self.state[3] = int(self.state[3]), self.state[3] + 1
        return Chances(self.config.seed, draws, first)

    @torch.no_grad()
    def find(self, queries: Embeddings, own: Tensor, numbers: Numbers, scale: Tensor | float | None = None) -> Found:
        """What the documents have to offer; see `draw_together`.

        Args:
            queries: N prepared embeddings.
            own: (2, J) queries and ids of documents that are no negatives of theirs.
            numbers: chance.
            scale: instead of the cache's own.
        """
        config, count = self.config, len(self)
        like = queries.values.new_empty((len(queries), 1), dtype=at_least_single(queries.values))
        cells = cells_of_ids(self.ids[:count], own.to(self.ids.device))
        group = config.size // config.top_k if config.groups and config.top_k is not None else 1
        width = tile_shape(len(queries), max(1, count), _PAIR_BYTES, TILE_BYTES, multiple=group).columns

        def tiles() -> Iterator[tuple[int, Tensor]]:
            stop = -(-count // group) * group  # a group that is not full ends in rows that cannot be drawn
            for columns in cuts(0, stop, max(width, group)) if count else []:
                part = slice(columns.start, min(columns.stop, count))
                documents = Embeddings(self.embeddings[part].to(like.device, like.dtype))
                logits = self.logits_of(self.scorer.tile(queries, self._prepared(documents)), scale).to(like.dtype)
                missing = columns.stop - part.stop
                if missing > 0:
                    logits = torch.nn.functional.pad(logits, (0, missing), value=-torch.inf)
                inside = cells[:, (cells[1] >= part.start) & (cells[1] < part.stop)].to(like.device)
                logits[inside[0], inside[1] - part.start] = -torch.inf
                yield columns.start, logits

        return find(tiles(), like, config, group, numbers)

    @torch.no_grad()
    def refresh(self, rows: Tensor, documents: Tensor | Embeddings) -> Tensor:
        """Write the embeddings (n, D) of documents that are in these rows (n,).

        Returns:
            (n,) how far the kept ones were off: the squared distance, as a part of the new one's length squared.
        """
        kept = self._kept(documents if isinstance(documents, Embeddings) else Embeddings(documents))
        places = rows.to(self.embeddings.device)
        before = self.embeddings[places].to(kept)
        gaps = (before - kept).square().sum(1) / kept.square().sum(1).clamp(min=torch.finfo(kept.dtype).tiny)
        self.embeddings.index_copy_(0, places, kept.to(self.embeddings))
        self.written[rows] = (self.state[2] + 1).to(torch.int32)  # as young as those that are inserted next
        return gaps

    @torch.no_grad()
    def insert(self, documents: Tensor | Embeddings, ids: Tensor) -> Tensor:
        """Keep a batch's documents. One that is there is brought up to date in its place; of twins the last counts.

        Args:
            documents: M embeddings; of more than the cache holds, the last ones stay.
            ids: (M,) int64, equal for what is one document.

        Returns:
            (M,) int64: the row of each, −1 where it is not kept.

        Raises:
            TypeError: for documents of many vectors.
            ValueError: for embeddings that are not finite, and another number of ids.
        """
        checked = self.checked(documents, len(ids), what="ids")
        ids = ids.to(self.ids.device)
        self.state[2] += 1
        last = last_of_each(ids)[-self.size :]
        rows = rows_of_ids(self.ids[: len(self)], ids[last])
        missing = rows < 0
        rows[missing] = self._places(int(missing.sum()), rows[~missing])
        self.ids[rows] = ids[last]
        self.embeddings.index_copy_(
            0, rows.to(self.embeddings.device), self._kept(checked.take(last)).to(self.embeddings)
        )
        self.written[rows] = self.state[2].to(torch.int32)
        return rows_of_ids(ids[last], ids, rows)

    def check_state(self, state: Tensor, embeddings: Tensor) -> None:
        """Refuse what another cache kept.

        Raises:
            ValueError: for another size or dtype, naming both.
        """
        size = int(state.view(-1, len(self.state))[0, -1])
        if size != self.config.size or embeddings.dtype is not self.embeddings.dtype:
            raise ValueError(
                f"the negative cache kept {size} documents in {embeddings.dtype}, and this one keeps "
                f"{self.config.size} in {self.embeddings.dtype}; give NegativeCacheConfig the same size and dtype"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if f"{prefix}state" in state_dict and f"{prefix}embeddings" in state_dict:
            self.check_state(state_dict[f"{prefix}state"], state_dict[f"{prefix}embeddings"])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _places(self, count: int, taken: Tensor) -> Tensor:
        """Rows for so many new documents: free ones, then those whose time has come, but none of those taken."""
        filled = len(self)
        free = torch.arange(filled, min(self.size, filled + count), device=self.ids.device)
        self.state[0] += len(free)
        needed = count - len(free)
        if not needed:
            return free
        order = torch.arange(filled, device=self.ids.device)
        if self.config.eviction == "fifo":
            key = (order - self.state[1]) % self.size
        else:
            key = self.written[:filled].long() * self.size + order
        key[taken] = torch.iinfo(torch.long).max
        oldest = key.topk(needed, largest=False, sorted=True).indices
        if self.config.eviction == "fifo":
            self.state[1] = (oldest[-1] + 1) % self.size
        return torch.cat([free, oldest])

    def logits_of(self, scores: Tensor, scale: Tensor | float | None = None) -> Tensor:
        """The logits of scores of any shape."""
        if self.score_transform is not None and scale is None:
            return self.score_transform(scores)
        return scores * (self.scale if scale is None else scale)

    def _keeps_prepared(self) -> bool:
        """Whether preparing gives the same for good, and no more than there is room for."""
        if next(self.scorer.parameters(), None) is not None:
            return False
        size = self.embeddings.shape[1]
        return self.scorer.prepare_documents(Embeddings(self.embeddings.new_zeros(1, size))).size == size

    def _kept(self, documents: Embeddings) -> Tensor:
        detached = documents.detach()
        return (self.scorer.prepare_documents(detached) if self._keeps_prepared() else detached).values

    def _prepared(self, documents: Embeddings) -> Embeddings:
        return documents if self._keeps_prepared() else self.scorer.prepare_documents(documents)

    def _own(self, ids: Tensor | None, count: int) -> Tensor:
        """(2, J) queries and ids of what is their own."""
        if ids is None:
            return self.ids.new_zeros(2, 0)
        ids = ids.to(self.ids.device)
        if ids.ndim == 2:
            return ids.T
        if len(ids) != count:
            raise ValueError(f"ids must be those of {count} queries' positives, got {len(ids)}")
        return torch.stack([torch.arange(count, device=ids.device), ids])

    def checked(self, documents: Tensor | Embeddings, count: int, what: str = "rows") -> Embeddings:
        """One finite vector for each of so many documents, or an error; see `insert`."""
        documents = documents if isinstance(documents, Embeddings) else Embeddings(documents)
        if documents.is_multi_vector:
            raise TypeError(
                "a negative cache keeps one vector a document, and these have many: pool them in the document tower, "
                "or remember whole batches with configure_xbm"
            )
        if len(documents) != count:
            raise ValueError(f"{len(documents)} embeddings for {count} {what}")
        finite = documents.values.isfinite().all(1)
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"the embedding in row {row} is not finite after {int(self.state[2])} insertions; lower the learning "
                "rate, or look for the object that the encoder cannot read"
            )
        return documents
