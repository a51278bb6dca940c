"""Retrieval over queries, corpus and judgements, in memory and from files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import simlearn
from simlearn import RetrievalEvaluator
from simlearn.evaluation.rankings import retrieval_evaluator


def as_given(objects: list[Any], role: str) -> np.ndarray:
    return np.array(objects, dtype=np.float32)


def random_vectors(count: int, seed: int, size: int = 4) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(count, size)).tolist()


QUERIES, CORPUS = random_vectors(30, 0), random_vectors(50, 1)
QRELS = {row: {row: 2, (row * 7) % 50: 1, 3: 0} for row in range(28)}


def by_loops(metric: str) -> list[float]:
    queries, corpus = np.array(QUERIES, dtype=np.float32), np.array(CORPUS, dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    values = []
    for row, scores in enumerate(queries @ corpus.T):
        relevant = {document for document, grade in QRELS.get(row, {}).items() if grade > 0}
        order = np.argsort(-scores, kind="stable").tolist()
        if not relevant:
            values.append(math.nan)
        elif metric == "mrr":
            values.append(1 / (1 + min(order.index(one) for one in relevant)))
        else:
            values.append(len(relevant & set(order[:5])) / len(relevant))
    return values


@pytest.mark.parametrize("cells", [2**23, 60])
def test_it_equals_plain_loops_whatever_is_held_at_once(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_evaluator, "_CELLS", cells)
    report = simlearn.evaluate(RetrievalEvaluator(QUERIES, CORPUS, QRELS, metrics=["mrr", "recall@5"]), model=as_given)
    for name in ("mrr", "recall@5"):
        expected = np.array(by_loops(name))
        np.testing.assert_allclose(report.values_of_rows[name], expected, atol=1e-12)
        assert report[name] == pytest.approx(np.nanmean(expected))
        assert (report.figures[name].n, report.figures[name].undefined) == (28, 2)


def test_forms_of_input_agree() -> None:
    named = RetrievalEvaluator(
        {f"q{row}": query for row, query in enumerate(QUERIES)},
        {f"d{row}": document for row, document in enumerate(CORPUS)},
        {f"q{row}": [f"d{document}" for document, grade in one.items() if grade > 0] for row, one in QRELS.items()},
        metrics=["mrr", "recall@5"],
    )
    listed = RetrievalEvaluator(
        QUERIES, CORPUS, [{d for d, g in QRELS.get(row, {}).items() if g > 0} for row in range(30)], ["mrr", "recall@5"]
    )
    expected = RetrievalEvaluator(QUERIES, CORPUS, QRELS, metrics=["mrr", "recall@5"]).evaluate(model=as_given)
    assert dict(named.evaluate(model=as_given)) == dict(listed.evaluate(model=as_given)) == dict(expected)
    single = RetrievalEvaluator(QUERIES, CORPUS, list(range(30)), metrics=["mrr"])
    assert single.evaluate(model=as_given).figures["mrr"].n == 30


def test_queries_without_relevant_documents_are_counted_and_not_encoded() -> None:
    encoded: dict[str, int] = {}

    def encode(objects: list[Any], role: str) -> np.ndarray:
        encoded[role] = len(objects)
        return as_given(objects, role)

    skip = RetrievalEvaluator(QUERIES, CORPUS, QRELS, metrics=["mrr"]).evaluate(model=encode)
    zero = RetrievalEvaluator(QUERIES, CORPUS, QRELS, metrics=["mrr"], undefined="zero").evaluate(model=encode)
    assert encoded == {"query": 28, "document": 50}
    assert zero["mrr"] == pytest.approx(skip["mrr"] * 28 / 30)
    assert (zero.figures["mrr"].n, zero.figures["mrr"].undefined) == (30, 2)
    assert skip.rows()[-1]["mrr"] is not None and math.isnan(skip.rows()[-1]["mrr"])


def test_worst_queries_say_what_was_found_instead() -> None:
    corpus = {"near": [1.0, 0.0], "far": [0.0, 1.0]}
    report = RetrievalEvaluator({"q": [1.0, 0.1]}, corpus, {"q": ["far"]}, metrics=["mrr"]).evaluate(model=as_given)
    row = {"id": "q", "query": [1.0, 0.1], "first_relevant": 2, "found": ("near", "far"), "mrr": 0.5}
    assert report.worst(1) == [row]


def test_equal_objects_are_encoded_once_and_counted() -> None:
    evaluator = RetrievalEvaluator(["a", "a"], ["x", "", "x"], [[0], [1]], metrics=["recall@1"])
    assert evaluator.objects() == [("query", ["a"]), ("document", ["x", ""])]
    report = evaluator.evaluate(model=lambda objects, role: [[1.0, float(len(one))] for one in objects])
    text = str(report)
    assert (
        "1 query objects repeat" in text
        and "1 document objects repeat" in text
        and "1 document texts are empty" in text
    )


@pytest.mark.parametrize("missing", ["count", "drop"])
def test_judged_ids_of_another_type(missing: Any) -> None:
    with pytest.raises(
        ValueError, match=r"judge 2 documents .* '1' \(a str\); .* as 1 \(a int\): give ids of one type"
    ):
        RetrievalEvaluator(["a"], ["b", "c"], {0: ["0x", "1"]}, missing=missing)
    with pytest.raises(ValueError, match=r"judge 1 documents .* 1 \(a int\); .* as '1' \(a str\)"):
        RetrievalEvaluator({"q": "a"}, {"1": "b", "2": "c"}, {"q": [1, "2"]}, missing=missing)
    with pytest.raises(ValueError, match=r"judge 1 queries .* '0' \(a str\); .* as 0 \(a int\)"):
        RetrievalEvaluator(["a", "b"], ["c"], {"0": [0], 1: [0]}, missing=missing)
    with pytest.raises(ValueError, match=r"'x' \(a str\); .* as '1' \(a str\): none is judged"):
        RetrievalEvaluator({"q": "a"}, {"1": "b"}, {"q": ["x"]}, missing=missing)
    assert RetrievalEvaluator(["a"], ["b", "c"], [[np.int64(1), np.int64(7), "gone"]], missing=missing)


def test_missing_documents() -> None:
    qrels = {0: {0: 1, "gone": 1}, 99: {1: 1}}
    with pytest.raises(ValueError, match=r"qrels judge 1 queries that are not among the 30 queries given, for .*99"):
        RetrievalEvaluator(QUERIES, CORPUS, qrels)
    with pytest.raises(ValueError, match="'gone' \\(a str, the documents have ids such as 0\\).*missing='count'"):
        RetrievalEvaluator(QUERIES, CORPUS, {0: {0: 1, "gone": 1}})
    counted = RetrievalEvaluator(QUERIES, CORPUS, qrels, metrics=["recall@50"], missing="count")
    dropped = RetrievalEvaluator(QUERIES, CORPUS, qrels, metrics=["recall@50"], missing="drop")
    assert counted.evaluate(model=as_given)["recall@50"] == 0.5
    report = dropped.evaluate(model=as_given)
    assert report["recall@50"] == 1.0
    assert report.notes == [
        "1 judged queries are not among the queries and were left out.",
        "1 judgements of documents that are not in the corpus were left out.",
    ]


def test_bad_embeddings_name_an_object() -> None:
    def broken(objects: list[Any], role: str) -> np.ndarray:
        vectors = as_given(objects, role)
        if role == "document":
            vectors[4] = np.nan
        return vectors

    with pytest.raises(ValueError, match="1 of 50 document objects an embedding with NaN or infinite values, .*'d4'"):
        RetrievalEvaluator(QUERIES, {f"d{row}": one for row, one in enumerate(CORPUS)}, [["d1"]] * 30).evaluate(
            model=broken
        )
    with pytest.raises(ValueError, match="gave 1 embeddings for 50 objects|gave 1 embeddings for 30 objects"):
        RetrievalEvaluator(QUERIES, CORPUS, [[1]] * 30).evaluate(model=lambda objects, role: np.ones((1, 4)))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="there are no queries"):
        RetrievalEvaluator([], CORPUS, [])
    with pytest.raises(ValueError, match="there are no documents"):
        RetrievalEvaluator(QUERIES, {}, [])
    with pytest.raises(ValueError, match="no query has a relevant document"):
        RetrievalEvaluator(QUERIES, CORPUS, {0: {1: 0}})
    with pytest.raises(ValueError, match="one entry a query: there are 30, got 2"):
        RetrievalEvaluator(QUERIES, CORPUS, [[1], [2]])
    with pytest.raises(ValueError, match="the grade of document 1 for query 0 is nan"):
        RetrievalEvaluator(QUERIES, CORPUS, {0: {1: math.nan}})
    with pytest.raises(ValueError, match="unknown metric 'recal@10'"):
        RetrievalEvaluator(QUERIES, CORPUS, QRELS, metrics=["recal@10"])
    evaluator = RetrievalEvaluator(QUERIES, CORPUS, QRELS)
    with pytest.raises(TypeError, match="pass the model by keyword"):
        simlearn.evaluate(evaluator, as_given)
    with pytest.raises(TypeError, match="an evaluator needs model=.*got none"):
        simlearn.evaluate(evaluator)
    with pytest.raises(TypeError, match="evaluate takes an evaluator first"):
        simlearn.evaluate("ndcg@10", model=as_given)


def test_a_small_corpus_is_said() -> None:
    report = RetrievalEvaluator(QUERIES, CORPUS[:5], [[1]] * 30, metrics=["recall@10", "mrr"]).evaluate(model=as_given)
    assert report["recall@10"] == 1.0
    assert "The corpus is smaller than the cut-off of recall@10: all documents are ranked." in report.notes


def test_ties_and_own_ids() -> None:
    queries, corpus = {"d1": [1.0, 0.0]}, {"d1": [1.0, 0.0], "d10": [1.0, 0.0], "d2": [1.0, 0.0]}

    def place(**options: Any) -> int:
        evaluator = RetrievalEvaluator(queries, corpus, {"d1": ["d10"]}, metrics=["mrr"], **options)
        return evaluator.evaluate(model=as_given).rows()[0]["first_relevant"]

    assert place() == 2 and place(ties="trec") == 2 and place(exclude_same_id=True) == 1
    assert place(ties="trec", exclude_same_id=True) == 2


def test_from_files(tmp_path: Path) -> None:
    corpus = [{"_id": f"d{row}", "title": "T" * (row == 0), "text": text} for row, text in enumerate(["a", "b", "c"])]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "b"}\n\n{"_id": "other", "text": "x"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t1\n")
    (tmp_path / "qrels.trec").write_text("q1 0 d1 1\nq1 0 d0 0\n")

    def encode(texts: list[str], role: str) -> torch.Tensor:
        return torch.tensor([[float(ord(text[-1])), 100.0] for text in texts])

    beir = RetrievalEvaluator.from_beir(tmp_path, metrics=["mrr"])
    assert beir.corpus.distinct == ["T a", "b", "c"]
    report = beir.evaluate(model=encode)
    assert report["mrr"] == 1.0 and len(report.ids) == 1
    assert report.notes == ["1 judgements repeat another one and were counted once."]
    files = (tmp_path / "queries.jsonl", str(tmp_path / "corpus.jsonl"), tmp_path / "qrels.trec")
    report = RetrievalEvaluator(*files, metrics=["mrr"]).evaluate(model=encode)
    assert report["mrr"] == 1.0 and report.figures["mrr"].undefined == 1


def test_models_of_all_kinds() -> None:
    model = simlearn.SimilarityModel(simlearn.BagOfTokensEncoder(simlearn.HashedNGrams(), embedding_size=8))

    class Holder:
        def __init__(self) -> None:
            self.model = model

    class TwoMethods:
        def encode_query(self, objects: list[str]) -> np.ndarray:
            return model.encode(objects)

        encode_document = encode_query

    evaluator = RetrievalEvaluator(["ab", "cd"], ["abc", "cde"], [0, 1], metrics=["mrr"])
    assert len({evaluator.evaluate(model=one)["mrr"] for one in (model, Holder(), TwoMethods())}) == 1


class TestQueriesAskedInSeveralWays:
    QUERIES: ClassVar[dict[str, str]] = {"q": "cat", "r": "dog"}
    CORPUS: ClassVar[dict[str, str]] = {"a": "cat", "b": "dog", "c": "tac"}

    def evaluator(self, **options: Any) -> RetrievalEvaluator:
        transforms = {"": None, "backwards": lambda query: query[::-1]}
        qrels = {"q": ["a"], "r": ["b"]}
        return RetrievalEvaluator(
            self.QUERIES, self.CORPUS, qrels, metrics=["mrr", "recall@1"], query_transforms=transforms, **options
        )

    @staticmethod
    def encode(objects: list[str], role: str) -> torch.Tensor:
        letters = torch.zeros(len(objects), 27 * 3)
        for row, text in enumerate(objects):
            for place, letter in enumerate(text[:3]):
                letters[row, 27 * place + ord(letter) - 96] = 1
        return letters

    def test_each_has_its_figures_and_the_corpus_is_encoded_once(self) -> None:
        encoded: list[list[str]] = []

        def encode(objects: list[str], role: str) -> torch.Tensor:
            encoded.append(objects)
            return self.encode(objects, role)

        report = self.evaluator().evaluate(model=encode)
        assert list(report) == ["mrr", "recall@1", "mrr/backwards", "recall@1/backwards"]
        assert report["mrr"] == report["recall@1"] == 1.0
        assert report["recall@1/backwards"] == 0.5, "tac finds itself first"
        assert encoded.count(["cat", "dog", "tac"]) == 1
        assert report.figures["mrr/backwards"].low <= report["mrr/backwards"]
        assert "mrr/backwards" in str(report)
        assert list(self.evaluator().objects()) == [
            ("query", ["cat", "dog"]),
            ("query", ["tac", "god"]),
            ("document", ["cat", "dog", "tac"]),
        ]

    def test_a_search_is_asked_in_all_ways(self) -> None:
        asked: list[str] = []

        def search(queries: list[str], k: int) -> list[list[str]]:
            asked.extend(queries)
            return [["a"] for _ in queries]

        report = self.evaluator().evaluate(search=search)
        assert asked == ["cat", "dog", "tac", "god"] and report["recall@1/backwards"] == 0.5

    def test_none_at_all(self) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            RetrievalEvaluator(self.QUERIES, self.CORPUS, {"q": ["a"]}, query_transforms={})


class TestASampleOfTheCorpus:
    CORPUS: ClassVar[dict[str, str]] = {str(n): f"document {n}" for n in range(100)}

    def evaluator(self, count: int, **options: Any) -> RetrievalEvaluator:
        return RetrievalEvaluator({"q": "document 7"}, self.CORPUS, {"q": ["7"]}, corpus_sample=count, **options)

    def test_what_is_judged_and_so_many_others(self) -> None:
        evaluator = self.evaluator(10)
        assert len(evaluator.corpus) == 11 and "7" in evaluator.corpus.ids
        assert evaluator.corpus.ids == sorted(evaluator.corpus.ids, key=int)
        assert self.evaluator(10).corpus.ids == evaluator.corpus.ids != self.evaluator(10, seed=1).corpus.ids
        report = evaluator.evaluate(search=lambda queries, k: [["7"]])
        assert any("The corpus is a sample: 11 of 100" in note for note in report.notes)

    def test_all_of_it(self) -> None:
        evaluator = self.evaluator(1000)
        assert len(evaluator.corpus) == 100
        assert not any("sample" in note for note in evaluator.evaluate(search=lambda queries, k: [["7"]]).notes)
        with pytest.raises(ValueError, match="corpus_sample must be 0 or more"):
            self.evaluator(-1)
