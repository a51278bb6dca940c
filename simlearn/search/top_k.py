"""The k best documents of every query, exactly, without the matrix of their scores.

1. Documents come piece by piece; a piece is checked and prepared once (for cosine: brought to unit length).
2. A tile, some queries against the piece, is scored into one buffer, and what must not be found is set to -inf.
3. Every query keeps its k best so far. Scores below the k-th best are dropped by a comparison, the few others are
   sorted in.

The size of a tile follows from a fixed budget in bytes, so that runs repeat and memory does not depend on N or M.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.ragged import Ragged
from simlearn.scoring import CosineScorer, Scorer
from simlearn.search.backends import Backend, SearchPiece, search_with
from simlearn.search.best import Best
from simlearn.search.exclusions import Exclusions
from simlearn.search.keys import MAX_DOCUMENTS
from simlearn.search.neighbours import Neighbours
from simlearn.search.tiles import (
    Documents,
    TileScores,
    chunks,
    count,
    in_range,
    is_product,
    moved,
    pieces,
    refuse_not_finite,
    tiles_for,
    widest_piece,
)

TILE_BYTES = 64 * 2**20
"""What a tile of scores and all that is made of it may take, about."""


@torch.no_grad()
def top_k(
    queries: Tensor | Embeddings,
    documents: Documents,
    k: int,
    scorer: Scorer | None = None,
    *,
    exclude_self: bool = False,
    exclude_ids: tuple[Tensor, Tensor] | None = None,
    exclude_rows: Ragged | tuple[Tensor, Tensor] | None = None,
    ties: Literal["first", "trec"] = "first",
    document_ranks: Tensor | None = None,
    backend: Backend = "torch",
    tile_bytes: int = TILE_BYTES,
) -> Neighbours:
    """Find the k documents that score highest for each query.

    Scores are compared as float32, whatever the embeddings' type. Tiles of another size may change the last bit of a
    score, within 1e-6 for cosine; the order of equal scores depends on nothing but the ties asked for.

    Args:
        queries: (N, D), or `Embeddings` of one or many vectors an object. The search runs on their device.
        documents: M of them: a tensor (M, D), `Embeddings`, a numpy array, any of these memory-mapped, or an iterable
            of chunks, which is walked through once. They are moved to the queries' device piece by piece.
        k: how many to find. Where a query has fewer documents, the result ends in scores of -inf and indices of -1.
        scorer: how they compare; None for cosine.
        exclude_self: whether query i is document i, and must not find itself.
        exclude_ids: int64 ids (N,) of the queries and (M,) of the documents; a query finds no document with its own id.
        exclude_rows: for each query documents not to be found, such as its known positives: a `Ragged`, or its offsets
            (N + 1,) and rows (J,).
        ties: which of equal scores comes first: `"first"` the smallest rank, `"trec"` the largest, as in trec_eval,
            whose ranks are those of the documents' ids as strings (`id_ranks`).
        document_ranks: (M,) int64 from 0 to M - 1, each once. Default: the documents' rows; `"trec"` has no default.
        backend: `"torch"`, or another library if it is installed: `"faiss"` and `"usearch"`, for cosine and dot
            product on the CPU. They search the pieces exactly; which of equal scores at the very end of a piece's best
            they leave out is their own choice.
        tile_bytes: the budget. What a search takes beside it grows with N x k alone, as does its result.

    Returns:
        Scores (N, k) and indices (N, k), on the queries' device.

    Raises:
        ValueError: for NaN or infinite embeddings, sizes that do not fit each other, k below 1, or a scorer that the
            backend cannot compute.
        ImportError: for a backend that is not installed.

    >>> top_k(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0]]), k=2).indices
    tensor([[1, 2]])
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    scorer = CosineScorer() if scorer is None else scorer
    queries = queries if isinstance(queries, Embeddings) else Embeddings(queries)
    device, n_documents = queries.device, count(documents)
    places = _places(ties, document_ranks, n_documents, device)
    exclusions = Exclusions(len(queries), n_documents, device, exclude_self, exclude_ids, exclude_rows)
    search_piece = None if backend == "torch" else _checked_backend(backend, scorer, device)
    with torch.autocast(device.type, enabled=False):
        refuse_not_finite(queries, "query")
        queries = scorer.prepare_queries(queries)
        kept = k if n_documents is None else max(1, min(k, n_documents))  # a k beyond M costs nothing but padding
        best = Best(len(queries), kept, places, device)
        walked = _walk(queries, documents, kept, scorer, exclusions, search_piece, best, tile_bytes)
    for name, size in (("document ids", exclusions.n_documents), ("ranks", None if places is None else len(places))):
        if size is not None and size != walked:
            raise ValueError(f"there are {walked} documents and {size} {name}")
    found = best.result()
    scores = in_range(found.scores, scorer)
    if k > kept:
        missing = (len(queries), k - kept)
        scores = torch.cat([scores, scores.new_full(missing, -torch.inf)], dim=1)
        found = Neighbours(scores, torch.cat([found.indices, found.indices.new_full(missing, -1)], dim=1))
    return Neighbours(scores, found.indices)


def _walk(
    queries: Embeddings,
    documents: Documents,
    k: int,
    scorer: Scorer,
    exclusions: Exclusions,
    search_piece: SearchPiece | None,
    best: Best,
    tile_bytes: int,
) -> int:
    """Offer every document to every query; returns how many documents there were."""
    first, longest = 0, max(exclusions.n_documents or 0, 0)
    score = TileScores(scorer, len(queries))
    for chunk in chunks(documents):
        if chunk.size != queries.size and is_product(scorer):
            raise ValueError(f"queries have vectors of size {queries.size}, documents of size {chunk.size}")
        shape = tiles_for(queries, chunk, scorer, k, tile_bytes)
        # A library holds no tile of scores, so the budget is the documents'; and it sorts anew in every piece.
        width = shape.columns if search_piece is None else widest_piece(chunk, tile_bytes)
        for piece in pieces(chunk, width):
            columns = slice(first, first + len(piece))
            if columns.stop > MAX_DOCUMENTS or (longest and columns.stop > longest):
                raise ValueError(f"there are more documents than {'ids' if longest else 'a search can number'}")
            refuse_not_finite(piece, "document", first)
            piece = scorer.prepare_documents(moved(piece, queries.device))
            if search_piece is not None:
                _search(queries, piece, columns, k, exclusions, search_piece, best)
            else:
                score.against(piece)
                for start in range(0, len(queries), shape.rows):
                    rows = slice(start, min(start + shape.rows, len(queries)))
                    scores, highest = score(queries.take(rows))
                    exclusions.apply(scores, rows, columns)
                    best.offer(rows, scores, highest, first)
            first = columns.stop
    return first


def _search(
    queries: Embeddings,
    piece: Embeddings,
    columns: slice,
    k: int,
    exclusions: Exclusions,
    search_piece: SearchPiece,
    best: Best,
) -> None:
    """Offer what a library finds in a piece: so many more than k that none is missing when the excluded are dropped."""
    rows, width = slice(0, len(queries)), len(piece)
    excluded = None
    if not exclusions.is_empty:
        query, document = exclusions.pairs(rows, columns)
        excluded = torch.unique(query * width + document)
        k += int(torch.bincount(excluded.div(width, rounding_mode="floor"), minlength=1).max()) if len(excluded) else 0
    scores, found = search_piece(queries.values.float(), piece.values.float(), min(k, width))
    if excluded is not None:
        cells = torch.arange(len(queries))[:, None] * width + found
        scores = scores.masked_fill(torch.isin(cells, excluded), -torch.inf)
    best.offer_found(rows, scores, found + columns.start)


def _checked_backend(backend: str, scorer: Scorer, device: torch.device) -> SearchPiece:
    search_piece = search_with(backend)
    if not is_product(scorer):
        raise ValueError(
            f"backend={backend!r} searches by cosine or dot product, and {type(scorer).__name__} is neither; "
            "use backend='torch'"
        )
    if device.type != "cpu":
        raise ValueError(f"backend={backend!r} runs on the CPU, the queries are on {device}; use backend='torch'")
    return search_piece


def _places(ties: str, ranks: Tensor | None, n_documents: int | None, device: torch.device) -> Tensor | None:
    """The place of each document among equals, where it is not its row."""
    if ties not in ("first", "trec"):
        raise ValueError(f"ties must be 'first' or 'trec', got {ties!r}")
    if ranks is None:
        if ties == "trec":
            raise ValueError(
                "ties='trec' orders equal scores by the documents' ids: give document_ranks=id_ranks(document_ids)"
            )
        return None
    if n_documents is not None and ranks.shape != (n_documents,):
        raise ValueError(f"document_ranks must have the shape ({n_documents},), got {tuple(ranks.shape)}")
    if not torch.equal(ranks.sort().values, torch.arange(len(ranks), device=ranks.device)):
        raise ValueError(f"document_ranks must be the numbers 0 to {len(ranks) - 1}, each once, in any order")
    ranks = ranks.to(device)
    return ranks if ties == "first" else len(ranks) - 1 - ranks
