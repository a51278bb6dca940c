from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn import HashedNGrams


def test_the_n_grams_of_a_word() -> None:
    grams = ["<sort>", "<so", "sor", "ort", "rt>"]
    assert HashedNGrams(1000, lengths=(3,))("sort") == [crc32(gram.encode()) % 1000 for gram in grams]


@pytest.mark.parametrize(
    ("one", "other"),
    [("getName", "get name"), ("np.linalg_norm", "np linalg norm"), ("STRASSE", "straße"), ("ﬁle", "file")],
)
def test_words_are_split_and_folded(one: str, other: str) -> None:
    assert HashedNGrams()(one) == HashedNGrams()(other)


@given(st.text())
def test_numbers_are_in_range_and_the_same_each_time(text: str) -> None:
    numbers = HashedNGrams(buckets=50)(text)
    assert all(0 <= number < 50 for number in numbers)
    assert numbers == HashedNGrams(buckets=50)(text)


def test_no_word_gives_nothing() -> None:
    assert HashedNGrams()("") == HashedNGrams()(" ._- ") == []


@pytest.mark.parametrize("arguments", [{"buckets": 0}, {"lengths": (0,)}])
def test_bad_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        HashedNGrams(**arguments)  # type: ignore[arg-type]
