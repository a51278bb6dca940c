from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn.encoders import AsciiFold, UnicodeFold


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a - b", "a  b"),
        ("a\nb", "ab"),
        ("straße", "strae"),
        ("привет", ""),
        ("C++ & C#", "c  c"),
        ("№5 ½", "no5 12"),
        ("Żółta ŁÓDŹ", "zolta lodz"),
        (" x ", "x"),
    ],
)
def test_ascii_fold_is_clean_phrase(text: str, cleaned: str) -> None:
    assert AsciiFold()(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a - b", "a b"), ("a\nb", "a b"), ("C++ & C#", "c c"), ("Żółta-ŁÓDŹ", "zolta lodz"), ("é", "e"), ("привет", "")],
)
def test_word_breaks_are_kept(text: str, cleaned: str) -> None:
    assert AsciiFold(word_breaks=True)(text) == cleaned


@given(st.text())
def test_what_is_left(text: str) -> None:
    folded = AsciiFold(word_breaks=True)(text)
    assert re.fullmatch("[a-z0-9 ]*", folded) and "  " not in folded and folded == folded.strip()
    assert re.fullmatch("[a-z0-9 ]*", AsciiFold()(text))
    assert AsciiFold()(AsciiFold()(text)) == AsciiFold()(text)


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("ﬁle", "file"), ("é", "é"), ("ПРИВЕТ", "привет")])
def test_unicode_fold(one: str, other: str) -> None:
    assert UnicodeFold()(one) == UnicodeFold()(other) == unicodedata.normalize("NFKC", other).casefold()
