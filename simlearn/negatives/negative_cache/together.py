"""Several caches as one, also those of other processes: what all their documents add to a softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distributed import gather, gather_parts, rank, together, world_size
from simlearn.embeddings import Embeddings
from simlearn.negatives.negative_cache.draws import Chances, Draw, Top
from simlearn.negatives.negative_cache.sampling import Found, Numbers, choose
from simlearn.precision import at_least_single

if TYPE_CHECKING:
    from simlearn.negatives.negative_cache.cache import NegativeCache

EncodeAgain: TypeAlias = Callable[[Tensor], "Embeddings | Tensor"]
"""From rows of a cache (n,) int64 to the embeddings (n, D) of their documents by the weights of the moment."""

_MERGES = 2**40
"""Where the numbers of the uses of chance begin that merge pieces; those before are of tiles."""


class Drawn(NamedTuple):
    """The negatives of N queries.

    Args:
        lse: (N,) the log-sum-exp of the logits of all documents that are none of the query's own.
        rows: (N, S) int64 rows of the cache that were drawn, −1 for none. Of several caches each has its rows behind
            those of the one before, and each process behind those of the one before.
        stale: (N, S) their logits by what was kept.
        fresh: (N, S) their logits by the weights of the moment, with gradients; 0 for none.
        staleness: (N, S) the squared distance of the kept from the fresh embedding, as a part of the latter's length
            squared; 0 for none.
        top: the best documents, where the cache was asked for `top_k`.
    """

    lse: Tensor
    rows: Tensor
    stale: Tensor
    fresh: Tensor
    staleness: Tensor
    top: Top | None

    def interpretable(self, positives: Tensor) -> Tensor:
        """The loss (N,) of a softmax over each query's positive and the cache, without gradients.

        Args:
            positives: (N,) logits of the queries' own documents.
        """
        return F.softplus(self.lse - positives.detach())


def draw_together(
    caches: Sequence[NegativeCache],
    queries: Embeddings,
    encode_again: Sequence[EncodeAgain],
    own: Tensor,
    chances: Chances,
    scale: Tensor | float | None = None,
    sharded: bool = False,
) -> tuple[Tensor, Drawn]:
    """One more logit against each query, of all documents of some caches.

    Args:
        caches: that draw alike; at least one.
        queries: N embeddings, with gradients. All processes give the same ones, where caches are sharded.
        encode_again: for each cache encodes its documents that are drawn, with gradients; each once.
        own: (2, J) int64 queries (their rows) and ids of documents that are no negatives of theirs.
        chances: of the drawing.
        scale: instead of that of the first cache.
        sharded: whether the other processes have documents too.

    Returns:
        (N,) logits, −inf where there are no documents, and what they are made of. Drawn rows are brought up to date.
    """
    first = caches[0]
    config, size = first.config, sum(cache.config.size for cache in caches)
    prepared = first.scorer.prepare_queries(queries.detach())
    like = prepared.values.new_empty((len(queries), 1), dtype=at_least_single(prepared.values))

    def numbers(use: int) -> Tensor:
        return chances.numbers(like, config.samples, use)

    with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
        found, starts = None, first_rows(caches, sharded)
        for number, (cache, start) in enumerate(zip(caches, starts, strict=True)):
            piece = cache.find(prepared, own, numbers, scale).moved(start)
            found = piece if found is None else found.merged(piece, config, numbers(_MERGES + number))
        if found is None:
            raise ValueError("there is no cache to draw from")
        if sharded and world_size() > 1:
            found = _of_all(found, caches, numbers)
        draw, weights = choose(found, config, numbers)
    there = draw.rows >= 0
    rows, places = torch.unique(draw.rows[there], return_inverse=True)
    zeros = draw.logits.new_zeros(draw.rows.shape)
    if not len(rows):
        return draw.lse, Drawn(draw.lse, draw.rows, draw.logits, zeros, zeros, found.top)
    if not (sharded and world_size() > 1):
        values, gaps = _encoded(caches, encode_again, rows, starts, like)
    else:
        values, gaps = together(lambda: _encoded(caches, encode_again, rows, starts, like), "encoding drawn documents")
        counts = torch.bincount(rows // size, minlength=world_size()).tolist()
        values, gaps = gather(values, counts), torch.cat(gather_parts([gaps])[0])
    with torch.autocast(queries.device.type, enabled=False):
        scores = first.scorer.paired(queries.take(there.nonzero()[:, 0]), Embeddings(values).take(places))
        logits = zeros.masked_scatter(there, first.logits_of(scores, scale).to(zeros.dtype))
        moved = (weights * (logits - logits.detach())).sum(1) / draw.rows.shape[1]
    staleness = zeros.masked_scatter(there, gaps[places].to(zeros.dtype))
    return draw.lse + moved, Drawn(draw.lse, draw.rows, draw.logits, logits, staleness, found.top)


def first_rows(caches: Sequence[NegativeCache], sharded: bool) -> list[int]:
    """The number of the first row of each cache of this process among those of all."""
    sizes = [cache.config.size for cache in caches]
    return [rank() * sum(sizes) * sharded + sum(sizes[:number]) for number in range(len(sizes))]


def rows_within(rows: Tensor, cache: NegativeCache, start: int) -> Tensor:
    """Those of some rows that are of a cache, by its own numbers."""
    return rows[(rows >= start) & (rows < start + cache.config.size)] - start


def _encoded(
    caches: Sequence[NegativeCache], encode_again: Sequence[EncodeAgain], rows: Tensor, starts: list[int], like: Tensor
) -> tuple[Tensor, Tensor]:
    """This process's documents among those drawn: their fresh embeddings (n, D), and how far the kept ones were off."""
    # An empty part has the dtype of the others, which all processes join.
    values, gaps = [like.new_zeros((0, caches[0].embeddings.shape[1]))], [like.new_zeros(0)]
    for cache, encode, start in zip(caches, encode_again, starts, strict=True):
        own = rows_within(rows, cache, start)
        if len(own):
            fresh = cache.checked(encode(own), len(own))
            values.append(fresh.values.to(like.dtype))
            gaps.append(cache.refresh(own, fresh).to(like.dtype))
    return torch.cat(values), torch.cat(gaps)


def _of_all(found: Found, caches: Sequence[NegativeCache], numbers: Numbers) -> Found:
    """What the documents of all processes have to offer; numbers travel, embeddings do not."""
    draw, top = found.draw, found.top
    columns = [found.lse[None], draw.lse[None], draw.logits.T, draw.rows.T]
    if top is not None:
        columns += [top.logits.T, top.rows.T]
    parts = [[part.T for part in column] for column in gather_parts([column.contiguous() for column in columns])]
    whole: Found | None = None
    for process in range(world_size()):
        lse, drawn_lse, logits, rows, *best = (column[process] for column in parts)
        piece = Found(lse[:, 0], Draw(drawn_lse[:, 0], rows, logits), Top(*best) if best else None)
        chances = numbers(_MERGES + process * len(caches))
        whole = piece if whole is None else whole.merged(piece, caches[0].config, chances)
    return found if whole is None else whole
