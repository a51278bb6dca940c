"""Golden values of qdrl's own vectorizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from simlearn import NGramVectorizer, QdrlVectorizer, Vocabulary

TOKENS = ["ala", "ma", "kota", "la ", " ma", "ma ", "ala ma"]
LIMITS = {"word_unigrams_limit": 3, "word_bigrams_limit": 2, "char_trigrams_limit": 6}
GOLDEN = [1, 2, 3, 7, 8, 1, 4, 8, 5, 6, 8]


def test_the_golden_phrase_from_a_dictionary_written_by_hand(tmp_path: Path) -> None:
    lines = [json.dumps({"token": token, "token_id": number}) for number, token in enumerate(TOKENS, 1)]
    (tmp_path / "dictionary.json").write_text("\n".join(lines[::-1]) + "\n")
    vectorizer = NGramVectorizer.qdrl(tmp_path, **LIMITS, num_oov_tokens=2)
    assert vectorizer("ala ma kota zielonego") == GOLDEN
    assert vectorizer.padded(["ala ma kota zielonego", "Ma", ""]).tolist() == [
        GOLDEN,
        [2] + [0] * 10,
        [8] + [0] * 10,
    ]
    assert vectorizer.padded([]).shape == (0, 11) and vectorizer.padded(["a"]).dtype is torch.int64


@pytest.mark.parametrize(("token", "number"), [("zielonego", 184105), ("gla", 193416), ("", 178128), (" ", 170341)])
def test_golden_buckets(token: str, number: int) -> None:
    vocabulary = Vocabulary(f"token {n}" for n in range(150_000))
    limits = {"word_unigrams_limit": 1, "word_bigrams_limit": 0, "char_trigrams_limit": 0}
    vectorizer = QdrlVectorizer(vocabulary, **limits, num_oov_tokens=50_000, normalize=str)
    assert vectorizer._numbers([token]) == [number]
    assert vectorizer.buckets == 200_000


def test_trigrams_run_over_spaces_and_doubled_spaces_are_words() -> None:
    vocabulary = Vocabulary(["a b", "", "a", "b"])
    trigrams = QdrlVectorizer(
        vocabulary, word_unigrams_limit=0, word_bigrams_limit=0, char_trigrams_limit=9, num_oov_tokens=2
    )
    assert trigrams("a b") == [1]
    words = QdrlVectorizer(
        vocabulary, word_unigrams_limit=9, word_bigrams_limit=0, char_trigrams_limit=0, num_oov_tokens=2
    )
    assert words("a - b") == [3, 2, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_oov_tokens": 1}, "one bucket less"),
        ({"num_oov_tokens": 0}, "one bucket less"),
        ({"word_unigrams_limit": -1}, "0 or more"),
        ({"word_unigrams_limit": 0, "word_bigrams_limit": 0, "char_trigrams_limit": 0}, "one of them above 0"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QdrlVectorizer(Vocabulary(TOKENS), **{**LIMITS, "num_oov_tokens": 2, **options})
