"""Late interaction: each vector of a query finds its best match in the document (ColBERT, Khattab & Zaharia 2020).

The products of all vectors of all queries and documents are computed block by block, and of each block only the best
match of each query vector is kept, with its place. Backwards each query vector receives the document vectors that it
had matched, and each of these the query vectors that had matched it: two weighted sums over the matches, of which there
are as many as query vectors for each document, in place of two products as large as the first.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.precision import at_least_single
from simlearn.ragged import entries
from simlearn.scoring.base import Scorer
from simlearn.tiles import cuts, tile_shape

Reduction = Literal["sum", "mean"]

_BLOCK_BYTES = 16 * 2**20
"""What the products of a block may take."""


class MaxSim(Scorer):
    """For each vector of a query the best product with a vector of the document, summed up.

    Vectors that a mask hides count nothing, on either side. A document without any vector scores −inf, against a query
    without any all others score 0. Scores are in at least fp32, whatever the embeddings' dtype or autocast.

    Args:
        reduction: `"sum"` over the query's vectors, as in ColBERT, or their `"mean"`, which does not grow with the
            length of a query, so that one loss scale suits all.
        normalize: bring each vector to unit length first; not needed behind `TokenProjection`.

    Raises:
        ValueError: for another reduction; when scoring, for objects of one vector, and sizes that differ.
    """

    def __init__(self, reduction: Reduction = "sum", normalize: bool = False) -> None:
        super().__init__()
        if reduction not in get_args(Reduction):
            raise ValueError(f"reduction must be 'sum' or 'mean', got {reduction!r}")
        self.reduction = reduction
        self.normalize = normalize

    def prepare(self, embeddings: Embeddings) -> Embeddings:
        """In at least fp32, zeros where the mask hides, and of unit length where that is asked for."""
        if not embeddings.is_multi_vector:
            raise ValueError(
                "MaxSim compares many vectors with many, and these objects have one each; give an encoder of tokens "
                "such as TransformerEncoder without a pooling, or take CosineScorer"
            )
        values = embeddings.blank().values
        return Embeddings(normalize(values) if self.normalize else values.to(at_least_single(values)), embeddings.mask)

    def cells(self, queries: Embeddings, documents: Embeddings) -> int:
        """The best match of each query vector, its place and its share of the score."""
        return 1 + 3 * queries.values.shape[1]

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N, M) in at least fp32."""
        return self.tile(self.prepare(queries), self.prepare(documents))

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (n, M) of prepared embeddings."""
        _check_sizes(queries, documents)
        with torch.autocast(queries.device.type, enabled=False):
            shares = self._shares(queries)
            if torch.is_grad_enabled() and (queries.values.requires_grad or documents.values.requires_grad):
                scores: Tensor = _BestMatches.apply(queries.values, documents.values, documents.mask, shares)  # type: ignore[no-untyped-call]
            else:
                scores, _ = _best_matches(queries.values, documents.values, documents.mask, shares, places=False)
            empty = _without_vectors(documents)
            return scores if empty is None else scores.masked_fill(empty, -torch.inf)

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N,) of query i against document i."""
        queries, documents = self.prepare(queries), self.prepare(documents)
        _check_sizes(queries, documents)
        length = max(1, queries.values.shape[1] * documents.values.shape[1])
        step = max(1, _BLOCK_BYTES // (queries.values.element_size() * length))
        with torch.autocast(queries.device.type, enabled=False):
            rows = cuts(0, len(queries), step)
            return torch.cat([self._diagonal(queries.take(block), documents.take(block)) for block in rows])

    def candidates(self, queries: Embeddings, documents: Embeddings, offsets: Tensor) -> Tensor:
        """Scores (M,) of each query's own candidates, pair by pair."""
        return self.paired(queries.take(entries(offsets.diff(), len(documents)).owners), documents)

    def _diagonal(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = queries.values @ documents.values.transpose(1, 2)
        if documents.mask is not None:
            # Finite, so that a document without vectors gives no NaN to a gradient.
            products = products.masked_fill(~documents.mask[:, None], torch.finfo(products.dtype).min)
        if not products.shape[2]:
            return products.sum((1, 2)).masked_fill(products.new_ones(len(products), dtype=torch.bool), -torch.inf)
        # With its places alone in the graph, and of equal matches the first, as `forward` has it.
        best, empty = products.max(2).values, _without_vectors(documents)
        scores = (best if empty is None else best.masked_fill(empty[:, None], 0.0)).mul(self._shares(queries)).sum(1)
        return scores if empty is None else scores.masked_fill(empty, -torch.inf)

    def _shares(self, queries: Embeddings) -> Tensor:
        """(N, q) what each query vector's best match is multiplied with."""
        if queries.mask is None:
            shares = queries.values.new_ones(queries.values.shape[:2])
        else:
            shares = queries.mask.to(queries.values.dtype)
        return shares / shares.sum(1, keepdim=True).clamp(min=1) if self.reduction == "mean" else shares


def _check_sizes(queries: Embeddings, documents: Embeddings) -> None:
    if queries.size != documents.size:
        raise ValueError(
            f"queries have vectors of size {queries.size}, documents of size {documents.size}; give the towers heads "
            "of one output size"
        )


def _without_vectors(documents: Embeddings) -> Tensor | None:
    """(M,) which documents have no vector; None where all have some."""
    if documents.mask is not None:
        return ~documents.mask.any(1)
    return None if documents.values.shape[1] else torch.ones(len(documents), dtype=torch.bool, device=documents.device)


def _best_matches(
    queries: Tensor, documents: Tensor, mask: Tensor | None, shares: Tensor, places: bool
) -> tuple[Tensor, Tensor | None]:
    """The scores (N, M), and the place in its document of each query vector's best match (N, q, M), if asked for.

    Args:
        queries: (N, q, D).
        documents: (M, t, D).
        mask: (M, t).
        shares: (N, q) of each query vector in the score.
        places: whether places are asked for.
    """
    (n, q, _), (m, t, size) = queries.shape, documents.shape
    scores = queries.new_zeros(n, m)
    kept = torch.zeros((n, q, m), dtype=torch.int16 if t < 2**15 else torch.int32, device=queries.device)
    if not (n and q and m and t):
        return scores, kept if places else None
    shape = tile_shape(n, m, queries.element_size() * q * t, _BLOCK_BYTES, narrowest=max(1, 1024 // t))
    for columns in cuts(0, m, shape.columns):
        part = documents[columns].reshape(-1, size).T
        hidden = None if mask is None else ~mask[columns].reshape(1, -1)
        for rows in cuts(0, n, shape.rows):
            products = queries[rows].reshape(-1, size) @ part
            if hidden is not None:
                products.masked_fill_(hidden, torch.finfo(products.dtype).min)
            blocks = products.view(-1, q, columns.stop - columns.start, t)
            if places:
                best, found = blocks.max(3)
                kept[rows, :, columns] = found.to(kept.dtype)
            else:
                best = blocks.amax(3)
            # Of a document without vectors the best match is the lowest of numbers; their sum must not overflow.
            best = best.clamp_(min=torch.finfo(best.dtype).min / q)
            scores[rows, columns] = torch.einsum("nqm,nq->nm", best, shares[rows])
    return scores, kept if places else None


class _BestMatches(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, documents: Tensor, mask: Tensor | None, shares: Tensor) -> Tensor:
        scores, places = _best_matches(queries, documents, mask, shares, places=True)
        ctx.save_for_backward(queries, documents, places, shares)
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        queries, documents, places, shares = ctx.saved_tensors
        (n, q, size), (m, t, _) = queries.shape, documents.shape
        for_queries = torch.zeros_like(queries) if ctx.needs_input_grad[0] else None
        for_documents = torch.zeros_like(documents) if ctx.needs_input_grad[1] else None
        if not (n and q and m and t):
            return for_queries, for_documents, None, None
        flat = queries.reshape(-1, size)
        # A match takes its place, its weight and, to be sorted, its rank, several times.
        step = max(1, _BLOCK_BYTES // (64 * n * q))
        for columns in cuts(0, m, step):
            width = columns.stop - columns.start
            rows = places[:, :, columns].long() + t * torch.arange(width, device=grad.device)
            weights = grad[:, None, columns] * shares[:, :, None]
            if for_queries is not None:
                matched, own = documents[columns].reshape(-1, size), weights.view(-1, width)
                summed = F.embedding_bag(rows.view(-1, width), matched, mode="sum", per_sample_weights=own)
                for_queries += summed.view(n, q, size)
            if for_documents is not None:
                order = rows.view(-1).argsort(stable=True)
                starts = F.pad(torch.bincount(rows.view(-1), minlength=width * t).cumsum(0)[:-1], (1, 0))
                owners = order // width
                summed = F.embedding_bag(owners, flat, starts, mode="sum", per_sample_weights=weights.view(-1)[order])
                for_documents[columns] = summed.view(width, t, size)
        return for_queries, for_documents, None, None
