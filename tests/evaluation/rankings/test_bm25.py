from __future__ import annotations

import math
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn import BM25, RetrievalEvaluator, evaluate
from simlearn.encoders import AsciiFold
from simlearn.evaluation.rankings.bm25 import _best

CORPUS = {"a": "red spoon of wood", "b": "Blue spoon", "c": "red red fork", "d": "lamp"}


def plain(corpus: list[str], query: str, k1: float = 1.5, b: float = 0.75) -> list[float]:
    """Lucene's formula, word by word."""
    documents = [document.lower().split() for document in corpus]
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        counts, score = Counter(document), 0.0
        for word in query.lower().split():
            n = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


def test_scores_by_the_formula() -> None:
    bm25 = BM25(CORPUS)
    for query in ("red spoon", "lamp red", "RED"):
        expected = plain(list(CORPUS.values()), query)
        (found,) = bm25.scores([query], 4)
        assert {one for one, score in zip(CORPUS, expected, strict=True) if score > 0} == set(found)
        for one, score in zip(CORPUS, expected, strict=True):
            assert found.get(one, 0.0) == pytest.approx(score, rel=1e-5)


def test_what_has_no_word_of_the_query_is_not_found() -> None:
    bm25 = BM25(CORPUS)
    assert bm25.search(["spoon", "table", ""], 9) == [["b", "a"], [], []]
    assert bm25.search([], 3) == [] and len(bm25) == 4


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 31))
def test_equal_scores_in_the_order_of_the_corpus(scores: list[int], k: int) -> None:
    rows = sorted((row for row, score in enumerate(scores) if score), key=lambda row: (-scores[row], row))[:k]
    assert _best(np.array(scores, np.float32), k).tolist() == rows


def test_judged_as_a_model_is() -> None:
    evaluator = RetrievalEvaluator({"q": "red spoon", "r": "lamp"}, CORPUS, {"q": ["a"], "r": ["d"]}, metrics=["mrr"])
    assert evaluate(evaluator, search=BM25(CORPUS).search)["mrr"] == 1.0


def test_fields_and_normalisers() -> None:
    corpus = [{"title": "Łódź"}, {"title": "Kraków"}]
    bm25 = BM25(corpus, AsciiFold(), text=lambda obj: obj if isinstance(obj, str) else obj["title"])
    assert bm25.search(["lodz", "KRAKOW"], 1) == [[0], [1]]
    with pytest.raises(TypeError, match="pass text="):
        BM25(corpus)


@pytest.mark.parametrize("corpus", [["", " "], {"a": "?!", "b": "..."}])
def test_a_corpus_without_a_word(corpus: Any) -> None:
    with pytest.raises(ValueError, match="none of the 2 documents has a word.*check the corpus"):
        BM25(corpus)


def test_queries_and_documents_without_words() -> None:
    bm25 = BM25(["", "red spoon", "?!"])
    assert bm25.search(["", "?!", "  ", "spoon"], 2) == [[], [], [], [1]]
    assert bm25.scores(["?!"], 2) == [{}]
    evaluator = RetrievalEvaluator(["?!", "red"], ["", "red spoon", "?!"], [[2], [1]], metrics=["mrr"])
    assert evaluate(evaluator, search=bm25.search)["mrr"] == 0.5


@pytest.mark.parametrize("options", [{"k1": -1}, {"b": 2}, {"k1": math.nan}, {"b": math.nan}, {"k1": math.inf}])
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="k1 must be 0 or more"):
        BM25(CORPUS, **options)
    with pytest.raises(ValueError, match="k must be at least 1"):
        BM25(CORPUS).search(["red"], 0)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ImportError, match=r"simlearn\[bm25\]"):
        BM25(CORPUS)
