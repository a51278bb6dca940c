"""Ranking a list of candidates for each query: what a re-ranker does, and a test of "recall@k in N"."""

from __future__ import annotations

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.ragged import Ragged
from simlearn.scoring import CosineScorer, Scorer
from simlearn.search.keys import pack, unpack_scores
from simlearn.search.neighbours import Neighbours
from simlearn.search.tiles import in_range, refuse_not_finite


@torch.no_grad()
def rank_candidates(
    queries: Tensor | Embeddings,
    documents: Tensor | Embeddings,
    candidates: Ragged | tuple[Tensor, Tensor],
    k: int | None = None,
    scorer: Scorer | None = None,
) -> Neighbours:
    """Rank for each query its own candidates; of equal scores the earlier candidate comes first.

    Every query is scored against its candidates alone, so a corpus far larger than they are costs nothing.

    Args:
        queries: N embeddings.
        documents: M embeddings.
        candidates: rows of documents for each query, none of them twice: a `Ragged`, or its offsets and rows.
        k: how many to keep; None keeps as many as the longest list has.
        scorer: how they compare; None for cosine.

    Returns:
        Scores (N, k) and indices (N, k) of documents; shorter lists end in -inf and -1.

    Raises:
        ValueError: for NaN or infinite embeddings, candidates that are not there, or k below 1.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    scorer = CosineScorer() if scorer is None else scorer
    queries = queries if isinstance(queries, Embeddings) else Embeddings(queries)
    documents = documents if isinstance(documents, Embeddings) else Embeddings(documents)
    lists = Ragged.of(candidates)
    lists.check_rows("candidates", len(queries), len(documents))
    refuse_not_finite(queries, "query")
    refuse_not_finite(documents, "document")
    lengths: list[int] = lists.lengths.tolist()
    width = k if k is not None else max(lengths, default=0)
    scores = torch.full((len(queries), width), -torch.inf, device=queries.device)
    indices = torch.full((len(queries), width), -1, dtype=torch.long, device=queries.device)
    with torch.autocast(queries.device.type, enabled=False):
        prepared = scorer.prepare_queries(queries)
        for row, rows in enumerate(torch.split(lists.values.to(documents.device), lengths)):
            if not len(rows):
                continue
            own = scorer.prepare_documents(documents.take(rows))
            scored = scorer.tile(prepared.take(slice(row, row + 1)), own)[0].float()
            if bool(scored.isnan().any()):
                raise ValueError(f"{type(scorer).__name__} gave query {row} a score of NaN for finite embeddings")
            keys = pack(scored, torch.arange(len(rows), device=scored.device))
            order = keys.argsort(descending=True)[:width]
            scores[row, : len(order)] = unpack_scores(keys[order])
            indices[row, : len(order)] = rows[order]
    return Neighbours(in_range(scores, scorer), indices)
