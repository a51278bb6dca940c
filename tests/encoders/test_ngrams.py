from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn.encoders import AsciiFold, NGrams
from simlearn.encoders.ngrams import words_in


def test_all_orders() -> None:
    grams = NGrams(word_pairs=True, characters=(3, 2))
    assert grams.orders == ("words", "word_pairs", "characters_3", "characters_2")
    assert grams.by_order("Ala MA") == [
        ["ala", "ma"],
        ["ala ma"],
        ["~<al", "~ala", "~la>", "~<ma", "~ma>"],
        ["~<a", "~al", "~la", "~a>", "~<m", "~ma", "~a>"],
    ]


def test_a_word_is_no_trigram_and_nothing_gives_nothing() -> None:
    assert "ala" not in NGrams(words=False)("ala")
    assert NGrams(word_pairs=True)("") == NGrams()(" -- ") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ภาษาไทย", ["ภาษาไทย"]),
        ("你好，世界", ["你好", "世界"]),
        ("é-à", ["é", "à"]),
        ("snake_case", ["snake", "case"]),
        ("№5", ["5"]),
    ],
)
def test_words_of_any_script(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_normalised_by_what_is_given() -> None:
    assert NGrams(normalize=AsciiFold())("Łódź") == NGrams()("lodz")


@given(st.text(max_size=30), st.sets(st.integers(1, 5), max_size=3))
def test_every_piece_of_every_word(text: str, lengths: set[int]) -> None:
    grams = NGrams(characters=sorted(lengths))
    words, *characters = grams.by_order(text)
    for length, found in zip(sorted(lengths), characters, strict=True):
        marked = [f"<{word}>" for word in words]
        assert found == ["~" + one[i : i + length] for one in marked for i in range(len(one)) if i + length <= len(one)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": False, "characters": ()}, "no tokens"),
        ({"characters": (0,)}, "at least 1"),
        ({"characters": (3, 3)}, "distinct"),
        ({"characters": (101,)}, "at most 100"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NGrams(**options)
