"""A whole report on a retrieval: search once, and show what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from simlearn.data.embedding_objects import Encode, embed_objects, model_in
from simlearn.embeddings import Embeddings
from simlearn.evaluation.health import Health
from simlearn.evaluation.rankings.metrics import ndcg
from simlearn.evaluation.rankings.ranking import Qrels, Ranking
from simlearn.inspection.look.look import Look, NeighbourList
from simlearn.inspection.look.plane import Method
from simlearn.ragged import Ragged
from simlearn.scoring import CosineScorer, Scorer
from simlearn.search import top_k

_DEPTH = 100
_PAIRS = 20_000
_HEALTH = 2000


@torch.no_grad()
def look_at(
    encode: Encode,
    queries: Sequence[Any],
    corpus: Sequence[Any],
    qrels: Qrels,
    *,
    figures: Mapping[str, Any] | None = None,
    labels: Sequence[Any] | None = None,
    chosen: Sequence[int] | None = None,
    title: str = "A look at the space",
    method: Method = "pca",
    sample: int = 1500,
    scorer: Scorer | None = None,
    show: Callable[[Any], Any] | None = None,
    seed: int = 0,
) -> Look:
    """Search a corpus for queries and put a report together.

    It has the figures given, histograms of the scores of similar pairs, of random others and of the nearest other of
    each query, recall over k, a map of the corpus, its health, and what was found for some queries.

    ```python
    simlearn.look_at(model, queries, corpus, Qrels.from_lists(relevant)).save("report.html")
    ```

    Args:
        encode: a model, or a function of a list of objects and `"query"` or `"document"`.
        queries: N queries.
        corpus: M documents, at least 3.
        qrels: which of them are relevant.
        figures: by name a value or `(value, low, high, n)`, as an evaluation has them.
        labels: of the documents, for the colours of the map.
        chosen: numbers of the queries whose nearest are shown; None takes the four worst and four at even distances.
        title: of the report.
        method: of the map; see `project`.
        sample: how many documents the map shows.
        scorer: how embeddings compare; None for the model's own, and cosine for a function.
        show: turns an object into what is shown of it.
        seed: of what is drawn by chance.

    Returns:
        The report; `save` writes it, and further sections may be added.

    Raises:
        ValueError: for sizes that do not fit each other, and NaN or infinite embeddings.
    """
    if len(queries) != qrels.n_queries or not len(queries):
        raise ValueError(f"{len(queries)} queries were given, and judgements of {qrels.n_queries}")
    if len(corpus) < 3:
        raise ValueError(f"a look needs a corpus of at least 3 documents, got {len(corpus)}")
    if labels is not None and len(labels) != len(corpus):
        raise ValueError(f"{len(corpus)} documents need as many labels, got {len(labels)}")
    if scorer is None:
        model = model_in(encode)
        scorer = CosineScorer() if model is None else model.scorer
    asked = embed_objects(encode, list(queries), "query")
    documents = embed_objects(encode, list(corpus), "document").to(asked.device)
    found = top_k(asked, documents, min(_DEPTH, len(corpus)), scorer)
    ranking = Ranking.of(found.indices, qrels)
    random = torch.Generator().manual_seed(seed)
    sizes = f"{len(queries):,} queries, {len(corpus):,} documents, {len(qrels.documents):,} judgements."
    look = Look(title, sizes, show)
    if figures:
        look.figures(figures)
    similar, similar_scores = _judged_pairs(asked, documents, qrels, scorer, random)
    look.scores(
        similar=similar_scores,
        any_other=_other_pairs(asked, documents, qrels, scorer, random),
        nearest_other=_nearest_other(found.scores, found.indices, qrels),
    )
    look.recall_curve(ranking)
    rows = _spread(len(corpus), sample)
    look.map(
        _vectors(documents.take(rows.to(documents.device))),
        None if labels is None else [labels[row] for row in rows.tolist()],
        [corpus[row] for row in rows.tolist()],
        method,
        seed=seed,
    )
    vectors = _vectors(documents.take(_spread(len(corpus), _HEALTH).to(documents.device)))
    pairs = tuple(_vectors(one) for one in similar) if asked.size == documents.size and len(similar[0]) else None
    single = scorer if not documents.is_multi_vector else None
    look.health(Health.of(vectors, pairs, single))  # type: ignore[arg-type]
    lists = []
    for row in _chosen(ranking, chosen):
        places = [place for place in found.indices[row, :5].tolist() if place >= 0]
        quality = float(ndcg(ranking, 10)[row])
        lists.append(
            NeighbourList(
                queries[row],
                [corpus[place] for place in places],
                found.scores[row, : len(places)].tolist(),
                ranking.relevant[row, : len(places)].tolist(),
                "nothing relevant is known" if quality != quality else f"nDCG@10 {quality:.2f}",
            )
        )
    told = "The queries asked for." if chosen is not None else "The worst queries first, then some at even distances."
    return look.neighbours(lists, note=f"{told} ✓ is known to be relevant.")


def _judged_pairs(
    queries: Embeddings, documents: Embeddings, qrels: Qrels, scorer: Scorer, random: torch.Generator
) -> tuple[tuple[Embeddings, Embeddings], Tensor]:
    """Similar pairs, at most so many, and their scores."""
    relevant = (qrels.values > 0).nonzero().flatten().cpu()
    relevant = relevant[torch.randperm(len(relevant), generator=random)[:_PAIRS]]
    owners = Ragged(qrels.offsets, qrels.documents).owners().cpu()[relevant].to(queries.device)
    rows = qrels.documents.cpu()[relevant].to(documents.device)
    pairs = queries.take(owners), documents.take(rows)
    return pairs, _paired(scorer, *pairs)


def _other_pairs(
    queries: Embeddings, documents: Embeddings, qrels: Qrels, scorer: Scorer, random: torch.Generator
) -> Tensor:
    """Scores of pairs drawn by chance, none of them known to be similar."""
    per_query = max(1, min(_PAIRS // len(queries), 10))
    rows = torch.randint(len(documents), (len(queries), per_query), generator=random)
    other = qrels.to("cpu").look_up(rows) <= 0
    owners = torch.arange(len(queries))[:, None].expand_as(rows)[other][:_PAIRS]
    rows = rows[other][:_PAIRS]
    return _paired(scorer, queries.take(owners.to(queries.device)), documents.take(rows.to(documents.device)))


def _paired(scorer: Scorer, first: Embeddings, second: Embeddings) -> Tensor:
    if not len(first):
        return torch.empty(0)
    return scorer.paired(first, second).float().cpu()


def _nearest_other(scores: Tensor, indices: Tensor, qrels: Qrels) -> Tensor:
    """Of each query the highest score of a document that is not known to be similar."""
    other = (qrels.to(indices.device).look_up(indices) <= 0) & (indices >= 0)
    best = scores.masked_fill(~other, -torch.inf).max(dim=1).values
    return best[best.isfinite()].cpu()


def _vectors(embeddings: Embeddings) -> Tensor:
    """(N, D): of many vectors an object their mean."""
    if not embeddings.is_multi_vector:
        return embeddings.values.float()
    mask = embeddings.full_mask()[..., None]
    return (embeddings.values.float() * mask).sum(1) / mask.sum(1).clamp(min=1)


def _spread(count: int, most: int) -> Tensor:
    return torch.linspace(0, count - 1, min(count, max(3, most))).round().long()


def _chosen(ranking: Ranking, chosen: Sequence[int] | None) -> list[int]:
    count = len(ranking.grades)
    if chosen is not None:
        for row in chosen:
            if not 0 <= row < count:
                raise ValueError(f"there are {count} queries, and none with the number {row}")
        return list(chosen)
    quality = ndcg(ranking, 10)
    worst = torch.where(quality.isnan(), torch.inf, quality).argsort(stable=True)[:4].tolist()
    return list(dict.fromkeys([*worst, *_spread(count, 4).tolist()]))
