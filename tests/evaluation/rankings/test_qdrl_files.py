from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simlearn import RetrievalEvaluator, read_qdrl
from simlearn.evaluation.rankings.qdrl_files import ITEMS, QUERIES

ITEM_LINES: list[Any] = [
    {"document_id": 1, "document_name": "red spoon", "product_category_id": 7},
    {"document_id": "2", "document_name": "blue lamp", "product_category_id": None},
]
QUERY_LINES: list[Any] = [
    {"query_search_phrase": "spoon", "relevant_document_ids": [1, "1", 9]},
    {"query_search_phrase": "lamp", "relevant_document_ids": ["9"]},
]


def write(folder: Path, items: list[Any], queries: list[Any]) -> Path:
    for name, lines in ((ITEMS, items), (QUERIES, queries)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines))
    return folder


def test_ids_and_categories_are_texts_and_repetitions_go(tmp_path: Path) -> None:
    queries, corpus, qrels = read_qdrl(write(tmp_path, ITEM_LINES, QUERY_LINES))
    assert queries == {"0": "spoon", "1": "lamp"}
    assert corpus["1"] == {"document_name": "red spoon", "product_category_id": "7"}
    assert corpus["2"]["product_category_id"] is None
    assert qrels == {"0": ["1", "9"], "1": ["9"]}


def test_judged_as_qdrl_does(tmp_path: Path) -> None:
    """What is not among the candidates is dropped, and a query that is left with nothing is skipped, and told."""
    evaluator = RetrievalEvaluator(
        *read_qdrl(write(tmp_path, ITEM_LINES, QUERY_LINES)), missing="drop", metrics=["recall@1", "mrr@1"]
    )
    report = evaluator.evaluate(search=lambda queries, k: [["1"] for _ in queries])
    assert dict(report) == {"recall@1": 1.0, "mrr@1": 1.0}
    assert any("2 judgements of documents that are not in the corpus" in note for note in report.notes)
    assert report.figures["recall@1"].undefined == 1


@pytest.mark.parametrize(
    ("items", "queries", "message"),
    [
        ([{"document_id": 1}], QUERY_LINES, r"items.json, line 1: there is no 'document_name', only 'document_id'"),
        (["{"], QUERY_LINES, "items.json, line 1: no JSON"),
        (["[]"], QUERY_LINES, "line 1: a line must be a JSON object"),
        ([], QUERY_LINES, "items.json holds no lines"),
        ([{**ITEM_LINES[0], "document_id": 1.5}], QUERY_LINES, "document_id must be a text or a whole number, got 1.5"),
        (
            [*ITEM_LINES, {**ITEM_LINES[0], "document_name": "x"}],
            QUERY_LINES,
            "line 3: .* '1' came before",
        ),
        (ITEM_LINES, [{**QUERY_LINES[0], "relevant_document_ids": "1"}], "queries.json, line 1: .* a list of ids"),
        (ITEM_LINES, [{**QUERY_LINES[0], "query_search_phrase": 5}], "query_search_phrase must be a text, got 5"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, items: list[Any], queries: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_qdrl(write(tmp_path, items, queries))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="name the folder that holds"):
        read_qdrl(tmp_path)
