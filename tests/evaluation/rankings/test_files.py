"""Queries, documents and judgements from files; what cannot be read is named by its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from simlearn.evaluation import read_objects, read_qrels, read_run


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_objects(tmp_path: Path) -> None:
    json_lines = written(tmp_path, "a.jsonl", '{"id": 7, "text": "ü", "title": "T"}\n')
    assert read_objects(json_lines) == {"7": "T ü"}
    assert read_objects(json_lines, parse=lambda record: record["title"]) == {"7": "T"}
    assert read_objects(written(tmp_path, "a.tsv", "7\tone\ttwo\n8\t\n")) == {"7": "one\ttwo", "8": ""}
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write('{"_id": "7", "text": "x"}\n')
    assert read_objects(tmp_path / "b.jsonl.gz") == {"7": "x"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"_id": "1", "text": "x"}\n{"text"', "line 2: not a JSON record"),
        ("a.jsonl", '{"text": "x"}', "line 1: the record has no id"),
        ("a.jsonl", '{"_id": "1", "body": "x"}', "line 1: the record has no field 'text', only .*pass parse="),
        ("a.jsonl", "[1]", "line 1: a record must be a JSON object, got a list"),
        ("a.tsv", "1 one", "line 1: a line must hold an id, a tab and a text"),
        ("a.tsv", "1\tone\n1\tother", "line 2: the id '1' came before with other content"),
    ],
)
def test_bad_objects(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_objects(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.trec", "q1 0 d1 2\nq1 0 d2 0\nq2 Q0 d1 1\n"),
        ("a.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t1\n"),
        (
            "a.jsonl",
            '{"query-id": "q1", "corpus-id": "d1", "score": 2}\n{"query-id": "q1", "corpus-id": "d2", "score": 0}\n'
            '{"query-id": "q2", "corpus-id": "d1"}\n',
        ),
    ],
)
def test_judgements(name: str, content: str, tmp_path: Path) -> None:
    found = read_qrels(written(tmp_path, name, content))
    assert found.grades == {"q1": {"d1": 2.0, "d2": 0.0}, "q2": {"d1": 1.0}} and found.repeated == 0


def test_judgements_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2: document 'd1' is judged 0 for query 'q1', and 1 before"):
        read_qrels(written(tmp_path, "a", "q1 0 d1 1\nq1 0 d1 0\n"))
    assert read_qrels(written(tmp_path, "b", "q1 0 d1 1\nq1 0 d1 1\n")).repeated == 1
    with pytest.raises(ValueError, match="line 1: a judgement is"):
        read_qrels(written(tmp_path, "c", "q1 0 d1 high\n"))


def test_runs(tmp_path: Path) -> None:
    run = written(tmp_path, "run", "q1 Q0 d2 2 0.5 tag\nq1 Q0 d1 1 0.9 tag\n")
    assert read_run(run) == {"q1": ["d1", "d2"]}
    with pytest.raises(ValueError, match="line 1: a line of a run"):
        read_run(written(tmp_path, "bad", "q1 d2\n"))
