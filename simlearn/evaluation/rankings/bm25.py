"""Search by words alone: what every model of search has to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simlearn.encoders.ngrams import words_in
from simlearn.encoders.normalizers import Normalizer, UnicodeFold
from simlearn.evaluation.rankings.files import ParseRecord, text_of
from simlearn.evaluation.rankings.judgements import named


class BM25:
    """Okapi BM25 over words (Robertson et al. 1994, in Lucene's form), by the package `bm25s`.

    Judged by the evaluator that judges the model, with intervals, on the same queries::

        bm25 = BM25(corpus, normalize=vectorizer.normalize)
        words = simlearn.evaluate(evaluator, search=bm25.search)
        print(simlearn.evaluate(evaluator, model=model).compare(words))

    Args:
        corpus: documents by id, a list of them (the ids are then 0, 1, ...), or a file (see `read_objects`).
        normalize: what is done to texts before they are cut into words: that of the model. None takes `UnicodeFold`.
        k1: how soon a word that repeats counts no more, 0 or more.
        b: how much long documents are held back, from 0 to 1.
        text: from a document or query to its text; None where they are texts.
        parse: from a JSON record to a document, for files.

    Raises:
        ImportError: without the package `bm25s`.
        TypeError: for documents that are no texts, without `text`.
        ValueError: for no documents, documents without a single word, and for `k1` or `b` out of range.
    """

    def __init__(
        self,
        corpus: Mapping[Any, Any] | Sequence[Any] | str | Path,
        normalize: Normalizer | None = None,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        text: Callable[[Any], str] | None = None,
        parse: ParseRecord = text_of,
    ) -> None:
        if not 0 <= k1 < math.inf or not 0 <= b <= 1:
            raise ValueError(f"k1 must be 0 or more and b from 0 to 1, got {k1} and {b}")
        try:
            import bm25s
        except ImportError:
            raise ImportError("BM25 needs bm25s: pip install simlearn[bm25]") from None
        self.normalize: Normalizer = UnicodeFold() if normalize is None else normalize
        self._text = text
        self.ids, documents = named(corpus, "documents", parse)
        words = [self._words(one) for one in documents]
        if not any(words):
            raise ValueError(
                f"none of the {len(words)} documents has a word, so nothing can be found; the first one is "
                f"{documents[0]!r:.80}: check the corpus, and what text= and normalize= make of it"
            )
        self._index = bm25s.BM25(k1=k1, b=b)
        self._index.index(words, show_progress=False)

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, queries: Sequence[Any], k: int) -> list[list[Hashable]]:
        """The ids of at most k documents for each of N queries, best first; of equal ones the first in the corpus.

        Documents without any word of the query are not found, and nothing is for a query without words.

        Raises:
            ValueError: for a k below 1.
        """
        return [[self.ids[row] for row in rows.tolist()] for rows, _ in self._found(queries, k)]

    def scores(self, queries: Sequence[Any], k: int) -> list[dict[Hashable, float]]:
        """Like `search`, with the score of each document."""
        return [
            {self.ids[row]: score for row, score in zip(rows.tolist(), values.tolist(), strict=True)}
            for rows, values in self._found(queries, k)
        ]

    def _found(self, queries: Sequence[Any], k: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        found = []
        for query in queries:
            words = [word for word in self._words(query) if word in self._index.vocab_dict]
            scores = self._index.get_scores(words) if words else np.zeros(len(self), np.float32)
            rows = _best(scores, k)
            found.append((rows, scores[rows]))
        return found

    def _words(self, obj: Any) -> list[str]:
        text = obj if self._text is None else self._text(obj)
        if not isinstance(text, str):
            raise TypeError(f"BM25 reads texts, got a {type(text).__name__}; pass text=, from a document to its text")
        return words_in(self.normalize(text))


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The rows of the k highest scores above 0, equal ones in their order."""
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores > least)
        if least > 0:
            rows = np.append(rows, np.flatnonzero(scores == least)[: k - len(rows)])
            rows.sort()
    else:
        rows = np.flatnonzero(scores > 0)
    best: NDArray[np.int64] = rows[np.argsort(-scores[rows], kind="stable")]
    return best
