"""Exact search: which documents score highest for each query, whatever their number, in bounded memory."""

from simlearn.search.candidates import rank_candidates, rank_scored
from simlearn.search.neighbours import Neighbours, id_ranks
from simlearn.search.prefetch import StoredEmbeddings, prefetch
from simlearn.search.top_k import top_k

__all__ = ["Neighbours", "StoredEmbeddings", "id_ranks", "prefetch", "rank_candidates", "rank_scored", "top_k"]
