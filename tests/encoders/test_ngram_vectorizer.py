from __future__ import annotations

import pickle
import time
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn import NGramVectorizer, Vocabulary
from simlearn.encoders import AsciiFold, NGrams
from simlearn.encoders.ngram_vectorizer import _WORDS_REMEMBERED

TEXTS = ["a red spoon", "the red fork", "a spoon of wood"]


def plain(vectorizer: NGramVectorizer, text: str) -> list[int]:
    """Order by order, token by token."""
    grams = NGrams(vectorizer.words, vectorizer.word_pairs, vectorizer.characters, vectorizer.normalize)
    numbers, size, buckets = [], len(vectorizer.vocabulary), vectorizer.oov_buckets
    for place, (order, tokens) in enumerate(zip(grams.orders, grams.by_order(text), strict=True)):
        found = []
        for token in tokens:
            if token in vectorizer.vocabulary:
                found.append(1 + vectorizer.vocabulary.tokens.index(token))
            elif buckets:
                found.append(1 + size + place * buckets + crc32(token.encode("utf-8", "surrogatepass")) % buckets)
        numbers += found[: (vectorizer.limits or {}).get(order)]
    return numbers


@settings(deadline=None)
@given(
    st.text(alphabet="adepoprw -é", max_size=25) | st.text(max_size=10),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), (3,), (2, 4)]),
    st.sampled_from([0, 1, 7]),
    st.none() | st.just({"words": 2}),
)
def test_number_for_number(
    text: str, words: bool, pairs: bool, lengths: tuple[int, ...], buckets: int, limits: Mapping[str, int] | None
) -> None:
    if not (words or pairs or lengths) or (limits and not words):
        return
    options = {"words": words, "word_pairs": pairs, "characters": lengths}
    vectorizer = NGramVectorizer.build(TEXTS, **options, oov_buckets=buckets, limits=limits)
    for _ in range(2):  # the second time words are remembered
        numbers = vectorizer(text)
        assert sorted(numbers) == sorted(plain(vectorizer, text))
        assert all(0 < number < vectorizer.buckets for number in numbers)


def test_limits_cut_each_order() -> None:
    vectorizer = NGramVectorizer.build(TEXTS, word_pairs=True, limits={"words": 2, "word_pairs": 1, "characters_3": 3})
    grams = NGrams(word_pairs=True).by_order(TEXTS[2])
    expected = [*grams[0][:2], *grams[1][:1], *grams[2][:3]]
    assert [vectorizer.vocabulary.tokens[number - 1] for number in vectorizer(TEXTS[2])] == expected


def test_a_word_never_shares_a_number_with_a_trigram() -> None:
    vectorizer = NGramVectorizer(Vocabulary([]), oov_buckets=5)
    words = {vectorizer(word)[0] for word in map(str, range(100))}
    trigrams = {number for word in map(str, range(100)) for number in vectorizer(word)[1:]}
    assert words == set(range(1, 6)), "all buckets are used"
    assert trigrams == set(range(6, 11))


def test_build_counts_what_it_will_look_up() -> None:
    vectorizer = NGramVectorizer.build(["Ala ma", "ala"], 2, characters=(), normalize=AsciiFold())
    assert vectorizer.vocabulary.tokens == ["ala", "ma"]
    assert NGramVectorizer.build(["b b a"], min_count=2, characters=()).vocabulary.tokens == ["b"]


def test_it_travels_without_what_it_remembers() -> None:
    vectorizer = NGramVectorizer.build(TEXTS)
    before = len(pickle.dumps(vectorizer))
    for number in range(1000):
        vectorizer(f"word{number}")
    assert len(pickle.dumps(vectorizer)) == before
    assert pickle.loads(pickle.dumps(vectorizer))(TEXTS[0]) == vectorizer(TEXTS[0])


def test_what_it_remembers_is_bounded() -> None:
    vectorizer = NGramVectorizer(Vocabulary([]), characters=())
    vectorizer._remembered.update({str(number): [[1]] for number in range(_WORDS_REMEMBERED)})
    assert vectorizer("new") and len(vectorizer._remembered) == 1


def test_words_that_repeat_cost_little() -> None:
    vectorizer = NGramVectorizer.build(TEXTS, characters=(3, 4, 5))
    vectorizer(TEXTS[0])
    start = time.perf_counter()
    for _ in range(1000):
        vectorizer(TEXTS[0])
    assert time.perf_counter() - start < 1.0, "a millisecond each would be a hundred times too much"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oov_buckets": -1}, "0 or more"),
        ({"limits": {"words": 0}}, "leave the order itself out"),
        ({"limits": {"pairs": 1}}, r"orders \['pairs'\]; .*'words', 'characters_3'"),
        ({"words": False, "characters": ()}, "no tokens"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NGramVectorizer(Vocabulary(["a"]), **options)
