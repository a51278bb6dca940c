"""The score of Poly-encoders: a candidate attends to a query's codes (Humeau et al. 2020, "Poly-encoders").

With x the products of the m codes y of a query with a candidate c, and a = softmax(x), the attended vector is
w = Σ a y and its product with the candidate ⟨w, c⟩ = Σ a x. So (N, M, m) numbers are enough, and never (N, M, D).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.precision import at_least_single
from simlearn.ragged import entries
from simlearn.scoring.base import Scorer

Attention = Literal["basic", "sqrt", "multihead"]


class PolyAttention(Scorer):
    """Each document, of one vector, attends to the many vectors of a query, and is compared with what it finds.

    Vectors that a mask hides count nothing; a query without any scores 0. Scores are in at least fp32.

    Args:
        attention: `"basic"` softmax(⟨y, c⟩), as in the paper; `"sqrt"` divides by √D; `"multihead"` has learnt
            projections, as in ParlAI's Poly-encoder.
        normalize: the score is the cosine of what was found and the document, in [−1, 1], in place of their product.
            Not with `"multihead"`.
        scale: multiplied with the scores.
        embedding_size: D, for `"multihead"`.
        heads: of `"multihead"`; D must be a multiple.

    Raises:
        ValueError: for options that do not go together; when scoring, for queries of one vector, documents of many, and
            sizes that differ.
    """

    def __init__(
        self,
        attention: Attention = "basic",
        normalize: bool = False,
        scale: float = 1.0,
        *,
        embedding_size: int | None = None,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if attention not in get_args(Attention):
            raise ValueError(f"attention must be 'basic', 'sqrt' or 'multihead', got {attention!r}")
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.attention, self.normalize, self.scale = attention, normalize, scale
        self.embedding_size, self.heads = embedding_size, heads
        if attention != "multihead":
            return
        if normalize:
            raise ValueError("normalize goes with attention='basic' or 'sqrt', not with several heads")
        if embedding_size is None or embedding_size < 1 or heads < 1 or embedding_size % heads:
            raise ValueError(
                f"attention='multihead' needs embedding_size=, a multiple of heads={heads}, got {embedding_size}"
            )
        self.asks, self.keys, self.values, self.out = (nn.Linear(embedding_size, embedding_size) for _ in range(4))

    def prepare_queries(self, queries: Embeddings) -> Embeddings:
        """In at least fp32, zeros where the mask hides; with what attention needs of the query alone."""
        if not queries.is_multi_vector:
            raise ValueError(
                "PolyAttention attends to the many vectors of a query, and these have one each; give the query tower a "
                "head such as LearntCodes or FirstM, or take DotScorer"
            )
        values = queries.blank().values
        values = values.to(at_least_single(values))
        with torch.autocast(values.device.type, enabled=False):
            if self.attention == "multihead":
                projected = torch.cat([self.keys(values), self.values(values)], 2)
                return Embeddings(projected, queries.mask)
            if self.normalize:  # ‖Σ a y‖² = aᵀ(YYᵀ)a
                return Embeddings(torch.cat([values, values @ values.transpose(1, 2)], 2), queries.mask)
        return Embeddings(values, queries.mask)

    def prepare_documents(self, documents: Embeddings) -> Embeddings:
        """In at least fp32, with what attention needs of the document alone."""
        if documents.is_multi_vector:
            raise ValueError(
                "PolyAttention compares with documents of one vector, and these have many; give the document tower a "
                "pooling such as CLSPooling, or take MaxSim"
            )
        values = documents.values
        values = values.to(at_least_single(values))
        with torch.autocast(values.device.type, enabled=False):
            if self.attention == "multihead":
                # ⟨W o + b, c⟩ = ⟨o, Wᵀc⟩ + ⟨b, c⟩
                through = values @ self.out.weight.to(values.dtype)
                return Embeddings(torch.cat([self.asks(values), through, values @ self.out.bias[:, None]], 1))
            if self.normalize:
                return Embeddings(torch.cat([values, torch.linalg.vector_norm(values, dim=1, keepdim=True)], 1))
        return Embeddings(values)

    def cells(self, queries: Embeddings, documents: Embeddings) -> int:
        """Products, weights and what is summed up of each vector of the query, for each head."""
        return 1 + 3 * queries.values.shape[1] * (self.heads if self.attention == "multihead" else 1)

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N, M) in at least fp32."""
        self._check_sizes(queries, documents)
        return self.tile(self.prepare_queries(queries), self.prepare_documents(documents))

    def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (n, M) of prepared embeddings."""
        with torch.autocast(queries.device.type, enabled=False):
            return self._scores(queries, documents, paired=False)

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        """Scores (N,) of query i against document i."""
        self._check_sizes(queries, documents)
        prepared = self.prepare_queries(queries), self.prepare_documents(documents)
        with torch.autocast(queries.device.type, enabled=False):
            return self._scores(*prepared, paired=True)[:, 0]

    def candidates(self, queries: Embeddings, documents: Embeddings, offsets: Tensor) -> Tensor:
        """Scores (M,) of each query's own candidates, pair by pair."""
        return self.paired(queries.take(entries(offsets.diff(), len(documents)).owners), documents)

    def _scores(self, queries: Embeddings, documents: Embeddings, paired: bool) -> Tensor:
        """(N, M), or (N, 1) of each query's own document."""
        self._check_prepared(queries, documents)

        def products(vectors: slice, own: slice) -> Tensor:
            """(N, m, M), or (N, m, 1)."""
            asked, given = queries.values[:, :, vectors], documents.values[:, own]
            if paired:
                return asked @ given[:, :, None]
            return (asked.reshape(-1, asked.shape[2]) @ given.T).view(*asked.shape[:2], len(given))

        def of_documents(column: int) -> Tensor:
            """(1, M), or (N, 1)."""
            return documents.values[:, column, None] if paired else documents.values[:, column]

        hidden = None if queries.mask is None else ~queries.mask[:, :, None]
        if self.attention == "multihead":
            size = queries.size // 2
            step = size // self.heads
            scores = of_documents(2 * size)
            for first in range(0, size, step):
                keys, values = slice(first, first + step), slice(size + first, size + first + step)
                weights = _weights(products(keys, keys) / step**0.5, hidden)
                scores = scores + (weights * products(values, values)).sum(1)
            if queries.mask is not None:  # of nothing found the bias alone would be left
                scores = scores.masked_fill(~queries.mask.any(1, keepdim=True), 0.0)
            return self.scale * scores
        size = documents.size - self.normalize
        x = products(slice(size), slice(size))
        weights = _weights(x / size**0.5 if self.attention == "sqrt" else x, hidden)
        scores = (weights * x).sum(1)
        if self.normalize:
            squares = ((queries.values[:, :, size:] @ weights) * weights).sum(1)
            tiny = torch.finfo(squares.dtype).tiny
            scores = scores / (squares.clamp(min=tiny).sqrt() * of_documents(size).clamp(min=tiny))
        return self.scale * scores

    def _check_prepared(self, queries: Embeddings, documents: Embeddings) -> None:
        """Whoever asks for tiles has prepared both by himself: without a look, part of a longer vector would do."""
        beside = queries.values.shape[1] if self.normalize else 0  # see `prepare_queries`
        size = queries.size // 2 if self.attention == "multihead" else queries.size - beside
        given = (documents.size - 1) // 2 if self.attention == "multihead" else documents.size - self.normalize
        if size != given:
            raise ValueError(
                f"queries have vectors of size {size}, documents of size {given}; give the towers heads of one output "
                "size"
            )

    def _check_sizes(self, queries: Embeddings, documents: Embeddings) -> None:
        sizes = {queries.size, documents.size} | ({self.embedding_size} if self.attention == "multihead" else set())
        if len(sizes) > 1:
            raise ValueError(
                f"queries have vectors of size {queries.size}, documents of size {documents.size}"
                + (f", and this scorer is for {self.embedding_size}" if self.attention == "multihead" else "")
                + "; give the towers heads of one output size"
            )


def _weights(logits: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax (N, m, M) over the m vectors of a query; zeros where these are hidden, all of them perhaps."""
    if not logits.shape[1]:
        return logits
    if hidden is None:
        return logits.softmax(1)
    # Finite: of -inf alone the softmax and its gradient would be NaN.
    return logits.masked_fill(hidden, torch.finfo(logits.dtype).min).softmax(1).masked_fill(hidden, 0.0)
