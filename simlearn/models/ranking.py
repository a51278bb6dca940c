"""One query and its candidates: encoded now or before, and ordered again by a slower model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from simlearn.models.encoded_objects import EncodedObjects
from simlearn.search import top_k as search_top_k

if TYPE_CHECKING:
    from simlearn.models.similarity_model import SimilarityModel

Ranked = list[tuple[int, float]]
"""The place of each candidate and its score, best first."""


class Ranks(Protocol):
    """What orders candidates, such as another `SimilarityModel`, or a cross-encoder."""

    def rank(self, query: Any, candidates: list[Any], top_k: int | None = None) -> Ranked:
        """The candidates, best first."""
        ...


class Predicts(Protocol):
    """What scores pairs of a query and a document, such as a `CrossEncoder` of sentence-transformers."""

    def predict(self, pairs: list[tuple[Any, Any]]) -> Any:
        """A number for each pair."""
        ...


def rank(
    model: SimilarityModel,
    query: Any,
    candidates: Sequence[Any] | EncodedObjects,
    top_k: int | None,
    batch_size: int,
    rerank: Ranks | Predicts | None,
    first: int,
    objects: Sequence[Any] | None,
) -> Ranked:
    """See `SimilarityModel.rank`."""
    if isinstance(candidates, (str, bytes)):
        raise TypeError("candidates must be a list of objects, got one text")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if first < 1 or (rerank is not None and top_k is not None and first < top_k):
        raise ValueError(f"first must be at least 1 and top_k={top_k}, since no others are ranked again; got {first}")
    read = objects if objects is not None else (None if isinstance(candidates, EncodedObjects) else candidates)
    if rerank is not None and read is None:
        raise ValueError(
            f"{type(rerank).__name__} ranks objects, and EncodedObjects hold vectors alone; pass objects=, the list "
            "that was encoded"
        )
    if read is not None and len(read) != len(candidates):
        raise ValueError(f"there are {len(candidates)} encoded candidates and {len(read)} objects; pass the same ones")
    if not len(candidates):
        return []
    count = min(len(candidates), first if rerank is not None else top_k or len(candidates))
    queries = model.embed([query], "query")
    if isinstance(candidates, EncodedObjects):
        size, documents = candidates.embedding_size, candidates.chunks()
    else:
        embedded = model.embed(list(candidates), "document", batch_size=batch_size)
        size, documents = embedded.size, iter([embedded])
    check_sizes(model, queries.size, size)
    found = search_top_k(queries, documents, count, model.scorer)
    places, scores = found.indices[0].tolist(), found.scores[0].tolist()
    ranked = [(place, score) for place, score in zip(places, scores, strict=True) if place >= 0]
    if len(ranked) < count:  # a score of -inf is no find, as of a document without any token
        there = {place for place, _ in ranked}
        rest = (place for place in range(len(candidates)) if place not in there)
        ranked += [(place, -inf) for place in islice(rest, count - len(ranked))]
    if rerank is None or read is None:
        return ranked
    best = sorted(place for place, _ in ranked)  # of equal scores the earlier candidate comes first
    again = _ranked_by(rerank, query, [read[place] for place in best], top_k)
    return [(best[place], score) for place, score in again]


def _ranked_by(rerank: Ranks | Predicts, query: Any, documents: list[Any], top_k: int | None) -> Ranked:
    """Candidates ordered by another model.

    Raises:
        ValueError: for another number of scores, and scores that are no numbers.
    """
    if not hasattr(rerank, "predict"):  # a cross-encoder of sentence-transformers has a `rank` too, of another kind
        return rerank.rank(query, documents, top_k)
    scores = np.asarray(rerank.predict([(query, document) for document in documents]), dtype=np.float64)
    if scores.shape != (len(documents),) or np.isnan(scores).any():
        raise ValueError(
            f"{type(rerank).__name__} must give a number for each of {len(documents)} pairs, got an array of shape "
            f"{scores.shape}{' with NaN' if np.isnan(scores).any() else ''}"
        )
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [(int(place), float(scores[place])) for place in order]


def check_sizes(model: SimilarityModel, queries: int, documents: int) -> None:
    """Refuse embeddings that no scorer compares.

    Raises:
        ValueError: naming both sizes.
    """
    if queries != documents:
        raise ValueError(
            f"queries have {queries} values and documents {documents}, which {type(model.scorer).__name__} cannot "
            "compare; give the towers heads of one output size"
        )
