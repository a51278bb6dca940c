"""The command that builds a vocabulary."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from simlearn import NGramVectorizer, Vocabulary
from simlearn.encoders.vocabulary.__main__ import main

TITLES = ["Red spoon", "red fork", None, "red spoon"]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"title": TITLES, "category": [5, 7, None, 5]}).astype({"category": "Int64"})
    frame[:2].to_parquet(tmp_path / "part-0.parquet")
    frame[2:].to_parquet(tmp_path / "part-1.parquet")
    return tmp_path


def test_of_texts(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shards / "words"
    assert main(["build", str(shards / "*.parquet"), "--column", "title", "--size", "4", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: 4 tokens\n"
    built = NGramVectorizer.build([title for title in TITLES if title], 4)
    assert Vocabulary.read(folder).tokens == built.vocabulary.tokens
    options = ["--no-words", "--word-pairs", "--characters", "", "--min-count", "2"]
    assert main(["build", str(shards / "*.parquet"), str(folder), "--column", "title", *options]) == 0
    assert Vocabulary.read(folder).tokens == ["red spoon"]


def test_of_categories(shards: Path) -> None:
    folder = shards / "categories"
    main(["build", str(shards / "*.parquet"), "--categories", "--column", "category", str(folder)])
    assert Vocabulary.read(folder).tokens == ["5", "7"]
    assert '"value_id"' in (folder / "dictionary.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["*.parquet", "--column", "name", "out"], "has no column 'name'; there are 'title', 'category'"),
        (["*.csv", "--column", "title", "out"], "names no file"),
        (["*.parquet", "--column", "category", "out"], "a vocabulary is built of texts, got 5"),
    ],
)
def test_errors_are_one_line(
    shards: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(shards / arguments[0]), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


def test_the_folder_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", "a.parquet", "--column", "title"])
    assert "behind them the folder" in capsys.readouterr().err


def test_as_a_command(shards: Path) -> None:
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "simlearn.encoders.vocabulary", "build"]
    done = subprocess.run(
        [*command, str(shards / "part-0.parquet"), str(shards / "part-1.parquet"), "--column", "title", "words"],
        cwd=shards,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout.startswith("words: ") and done.stderr == ""
