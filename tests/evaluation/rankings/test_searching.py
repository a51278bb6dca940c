"""Whatever can search or score is judged like a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny_tokenizer

import simlearn
from simlearn import RerankingEvaluator, RetrievalEvaluator, SimilarityRankingSample

VECTORS = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
QUERIES = {f"q{n}": VECTORS[n].tolist() for n in range(12)}
CORPUS = {f"d{n}": VECTORS[12 + n].tolist() for n in range(48)}
QRELS = {f"q{n}": {f"d{n}": 2.0, f"d{(7 * n + 1) % 48}": 1.0} for n in range(11)}
METRICS = ["mrr", "ndcg@10", "recall@5"]


def as_given(objects: list[Any], role: str) -> np.ndarray:
    return np.array(objects, dtype=np.float32)


def by_cosine(queries: list[Any], k: int) -> list[list[str]]:
    """A search as a user writes it: it knows objects and ids, no embeddings of ours."""
    first, second = np.array(queries), np.array(list(CORPUS.values()))
    scores = (first / np.linalg.norm(first, axis=1, keepdims=True)) @ (
        second / np.linalg.norm(second, axis=1, keepdims=True)
    ).T
    return [[f"d{row}" for row in order[:k]] for order in np.argsort(-scores, axis=1, kind="stable")]


def run_of(k: int = 48) -> dict[str, list[str]]:
    return dict(zip(QUERIES, by_cosine(list(QUERIES.values()), k), strict=True))


@pytest.mark.parametrize("form", ["function", "lists", "scores", "TREC file"])
def test_a_search_is_judged_like_the_model_that_it_equals(form: str, tmp_path: Path) -> None:
    evaluator = RetrievalEvaluator(QUERIES, CORPUS, QRELS, METRICS)
    expected = evaluator.evaluate(model=as_given)
    search: Any = by_cosine
    if form == "lists":
        search = run_of()
    if form == "scores":
        search = {query: {one: -place for place, one in enumerate(found)} for query, found in run_of().items()}
    if form == "TREC file":
        search = tmp_path / "run.txt"
        lines = [f"{q} Q0 {d} {r} {-r} me" for q, found in run_of().items() for r, d in enumerate(found, start=1)]
        search.write_text("\n".join(reversed(lines)))
    report = simlearn.evaluate(evaluator, search=search)
    assert dict(report) == dict(expected)
    for name in METRICS:
        np.testing.assert_array_equal(report.values_of_rows[name], expected.values_of_rows[name])
    assert report.worst(n=3) == expected.worst(n=3), "what was found is told too"


@pytest.mark.parametrize("found", ["array", "tensor"])
def test_an_index_of_faiss_is_a_search(found: str) -> None:
    faiss = pytest.importorskip("faiss")
    vectors = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    queries, corpus = vectors[:12], vectors[12:]
    index = faiss.IndexFlatIP(4)
    index.add(corpus)

    def search(objects: list[Any], k: int) -> Any:
        rows = index.search(np.array(objects, dtype=np.float32), k)[1]
        return rows if found == "array" else torch.from_numpy(rows)

    qrels = [[n, (7 * n + 1) % 48] for n in range(12)]
    # More than there are: the index says -1 for those.
    evaluator = RetrievalEvaluator(queries.tolist(), corpus.tolist(), qrels, ["mrr", "ndcg@100"])
    report, expected = evaluator.evaluate(search=search), evaluator.evaluate(model=as_given)
    assert dict(report) == pytest.approx(dict(expected))


def test_a_cross_encoder_is_a_score(tmp_path: Path) -> None:
    """A real one of sentence-transformers, tiny and random."""
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    cross_encoder = CrossEncoder(str(tmp_path), device="cpu")
    samples = [
        SimilarityRankingSample(f"query {n}", [f"text {n}", "another", "a b c"], [1.0, 0.0, 0.0]) for n in range(9)
    ]
    report = RerankingEvaluator(samples, ["mrr"]).evaluate(
        score=lambda queries, documents: cross_encoder.predict(list(zip(queries, documents, strict=True)))
    )
    values = []
    for sample in samples:
        scores = cross_encoder.predict([(sample.query, one) for one in sample.documents])
        values.append(1 / (1 + int((scores[1:] > scores[0]).sum())))
    np.testing.assert_allclose(report.values_of_rows["mrr"], values)


def test_no_more_than_k_are_wanted_and_fewer_will_do() -> None:
    asked: list[int] = []

    def search(queries: list[Any], k: int) -> list[list[str]]:
        asked.append(k)
        return [found[: k // 2] for found in by_cosine(queries, k)]

    evaluator = RetrievalEvaluator(QUERIES, CORPUS, QRELS, ["recall@10", "recall@5"])
    report = evaluator.evaluate(search=search)
    assert asked == [10] and report["recall@10"] == report["recall@5"]


def test_a_query_does_not_find_itself_where_it_must_not() -> None:
    texts = {f"t{n}": vector for n, vector in enumerate(VECTORS[:20].tolist())}
    qrels = {f"t{n}": [f"t{(n + 1) % 20}"] for n in range(20)}
    evaluator = RetrievalEvaluator(texts, texts, qrels, METRICS, exclude_same_id=True)
    expected = evaluator.evaluate(model=as_given)
    scores = VECTORS[:20] @ VECTORS[:20].T / np.outer(*[np.linalg.norm(VECTORS[:20], axis=1)] * 2)
    run = {f"t{n}": [f"t{row}" for row in np.argsort(-own, kind="stable")] for n, own in enumerate(scores)}
    assert dict(evaluator.evaluate(search=run)) == pytest.approx(dict(expected))
    assert dict(evaluator.evaluate(search=lambda queries, k: [found[:k] for found in run.values()])) == pytest.approx(
        dict(expected)
    )


def test_queries_without_a_result_count_as_nothing_found() -> None:
    evaluator = RetrievalEvaluator(QUERIES, CORPUS, QRELS, METRICS)
    run = run_of()
    del run["q3"]
    report = evaluator.evaluate(search=run)
    assert report.values_of_rows["mrr"][3] == 0
    assert "The run has nothing for 1 queries, which count as nothing found." in report.notes


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (3, TypeError, r"search= takes a function search\(queries, k\)"),
        ({0: ["d1"]}, ValueError, "the run has none of the 11 queries; it names such as 0"),
        (lambda queries, k: [[]], ValueError, "gave 1 lists for 11 queries"),
        (lambda queries, k: [["d1", "x"]] * 11, ValueError, "found 'x', which is not in the corpus"),
        (lambda queries, k: [[1]] * 11, ValueError, "found 1, which is not in the corpus .of ids such as 'd0'"),
        (lambda queries, k: [["d1", "d2", "d1"]] * 11, ValueError, "found 'd1' twice"),
    ],
)
def test_what_a_search_may_not_say(search: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RetrievalEvaluator(QUERIES, CORPUS, QRELS, METRICS).evaluate(search=search)


def test_a_search_stands_alone() -> None:
    with pytest.raises(TypeError, match="give search= alone"):
        RetrievalEvaluator(QUERIES, CORPUS, QRELS).evaluate(model=as_given, search=by_cosine)
    with pytest.raises(TypeError, match="give score= alone"):
        RerankingEvaluator(SAMPLES).evaluate(model=as_given, score=dot)
    with pytest.raises(TypeError, match="search"):
        simlearn.evaluate(RerankingEvaluator(SAMPLES), search=by_cosine)


def test_ways_of_asking_share_one_corpus() -> None:
    evaluator = RetrievalEvaluator(QUERIES, CORPUS, QRELS, METRICS)
    encoded: list[tuple[str, int]] = []

    def encode(objects: list[Any], role: str) -> np.ndarray:
        encoded.append((role, len(objects)))
        return as_given(objects, role)

    def shifted(query: list[float]) -> list[float]:
        return [value + 1 for value in query]

    reports = evaluator.evaluate_queries({"as they are": None, "shifted": shifted}, encode)
    assert encoded == [("document", 48), ("query", 11), ("query", 11)]
    assert dict(reports["as they are"]) == dict(evaluator.evaluate(model=as_given))
    other = RetrievalEvaluator({name: shifted(one) for name, one in QUERIES.items()}, CORPUS, QRELS, METRICS)
    assert dict(reports["shifted"]) == dict(other.evaluate(model=as_given))
    assert reports["shifted"].compare(reports["as they are"])


# Re-ranking

SAMPLES = [
    SimilarityRankingSample(
        VECTORS[n].tolist(), VECTORS[20 + 3 * n : 20 + 3 * n + 2 + n % 3].tolist(), [1.0, 0, 2, 0][: 2 + n % 3]
    )
    for n in range(10)
]


def dot(queries: list[Any], documents: list[Any]) -> list[float]:
    return [float(np.dot(query, document)) for query, document in zip(queries, documents, strict=True)]


def test_a_scorer_of_pairs_is_judged_like_the_model_that_it_equals() -> None:
    evaluator = RerankingEvaluator(SAMPLES, METRICS)
    expected = evaluator.evaluate(model=as_given, scorer=simlearn.DistanceScorer("dot_product"))
    report = simlearn.evaluate(evaluator, score=dot)
    for name in METRICS:
        np.testing.assert_array_equal(report.values_of_rows[name], expected.values_of_rows[name])
    equal = evaluator.evaluate(score=lambda queries, documents: np.zeros(len(queries)))
    assert equal["recall@5"] == 1 and equal["mrr"] == 1.0, "of equal scores the earlier candidate comes first"


def test_what_scores_may_not_be() -> None:
    evaluator = RerankingEvaluator(SAMPLES, METRICS)
    with pytest.raises(ValueError, match=r"score gave the shape \(3,\) for 29 pairs"):
        evaluator.evaluate(score=lambda queries, documents: [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="score gave query 0 a score of NaN"):
        evaluator.evaluate(score=lambda queries, documents: [float("nan")] * len(queries))


def test_what_no_order_can_reach_may_count() -> None:
    candidates = {query: found[:6] for query, found in run_of().items() if query in QRELS}
    order = RerankingEvaluator.from_run(QUERIES, CORPUS, candidates, QRELS, metrics=["recall@5", "ndcg@10"])
    both = RerankingEvaluator.from_run(
        QUERIES, CORPUS, candidates, QRELS, metrics=["recall@5", "ndcg@10"], missing="count"
    )
    whole = RetrievalEvaluator(QUERIES, CORPUS, QRELS, ["recall@5", "ndcg@10"])
    expected = whole.evaluate(search=candidates)
    report = both.evaluate(model=as_given)
    for name in ("recall@5", "ndcg@10"):
        values = expected.values_of_rows[name][~np.isnan(expected.values_of_rows[name])]
        np.testing.assert_allclose(report.values_of_rows[name], values)
    assert report["recall@5"] < order.evaluate(model=as_given)["recall@5"]
    assert any("relevant documents are not among the candidates and count as never found." in n for n in report.notes)
    with pytest.raises(ValueError, match="missing must be 'drop' or 'count'"):
        RerankingEvaluator.from_run(QUERIES, CORPUS, candidates, QRELS, missing="error")  # type: ignore[arg-type]
    by_number = {query: {int(one[1:]): grade for one, grade in judged.items()} for query, judged in QRELS.items()}
    with pytest.raises(ValueError, match=r"a int\).*a str\): give ids of one type"):
        RerankingEvaluator.from_run(QUERIES, CORPUS, candidates, by_number, missing="count")
    with pytest.raises(ValueError, match="out_of_reach has 1 lists for 10 queries"):
        RerankingEvaluator(SAMPLES, out_of_reach=[[1.0]])
