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
    scored = torch.empty(len(lists.values), device=queries.device)
    with torch.autocast(queries.device.type, enabled=False):
        prepared, start = scorer.prepare_queries(queries), 0
        for row, rows in enumerate(torch.split(lists.values.to(documents.device), lists.lengths.tolist())):
            if len(rows):
                own = scorer.prepare_documents(documents.take(rows))
                scored[start : start + len(rows)] = scorer.tile(prepared.take(slice(row, row + 1)), own)[0].float()
                start += len(rows)
    found = rank_scored(scored, lists, k, type(scorer).__name__)
    return Neighbours(in_range(found.scores, scorer), found.indices)


def rank_scored(scores: Tensor, candidates: Ragged, k: int | None = None, name: str = "score") -> Neighbours:
    """Order for each query its own candidates by scores that are known; of equal ones the earlier comes first.

    Args:
        scores: (L,) of each candidate for its query.
        candidates: rows of documents for each of N queries, L in all.
        k: how many to keep; None keeps as many as the longest list has.
        name: who gave the scores, for the message.

    Returns:
        Scores (N, k) and indices (N, k) of documents; shorter lists end in -inf and -1.

    Raises:
        ValueError: for scores of NaN.
    """
    rows, lengths = candidates.values.to(scores.device), candidates.lengths.tolist()
    width = k if k is not None else max(lengths, default=0)
    best = torch.full((len(lengths), width), -torch.inf, device=scores.device)
    indices = torch.full((len(lengths), width), -1, dtype=torch.long, device=scores.device)
    parts = zip(torch.split(scores, lengths), torch.split(rows, lengths), strict=True)
    for query, (scored, own) in enumerate(parts):
        if bool(scored.isnan().any()):
            raise ValueError(f"{name} gave query {query} a score of NaN; it has no place in an order")
        keys = pack(scored, torch.arange(len(own), device=scored.device))
        order = keys.argsort(descending=True)[:width]
        best[query, : len(order)] = unpack_scores(keys[order])
        indices[query, : len(order)] = own[order]
    return Neighbours(best, indices)
