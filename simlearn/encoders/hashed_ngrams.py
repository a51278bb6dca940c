"""Tokens without a vocabulary: character n-grams of words, hashed into buckets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from simlearn.components import Component
from simlearn.encoders.buckets import crc32_bucket
from simlearn.encoders.ngrams import check_lengths, slices

_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")


class Vectorizer(Protocol):
    """Turns a text into the numbers of its tokens."""

    @property
    def buckets(self) -> int:
        """How many numbers there are."""
        ...

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text, each in [0, `buckets`)."""
        ...


class HashedNGrams(Component):
    """Turns a text into the numbers of its words and of their character n-grams (Bojanowski et al. 2017).

    Words are split at everything but letters and digits and where `camelCase` turns, folded to lower case, and marked
    at both ends, so that `"sort"` gives `<sort>`, `<so`, `sor`, `ort`, `rt>` and so on. A number is the crc32 of the
    n-gram modulo the buckets: alike in every process and run, with nothing to build or to store.

    Args:
        buckets: how many numbers there are; n-grams that share one are told apart no more.
        lengths: the lengths of the n-grams; the whole word is always taken.

    Raises:
        ValueError: for less than one bucket, or lengths that repeat or are not in [1, 100].
    """

    def __init__(self, buckets: int = 16_384, lengths: Sequence[int] = (3, 4, 5)) -> None:
        if buckets < 1:
            raise ValueError(f"buckets must be at least 1, got {buckets}")
        self.buckets = buckets
        self.lengths = check_lengths(lengths)

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text, each in [0, buckets), one for every occurrence; none for a text without a word."""
        spaced = _CAMEL_CASE.sub(" ", unicodedata.normalize("NFKC", text)).casefold()
        return [number for word in _WORD.findall(spaced) for number in _numbers(word, self.buckets, self.lengths)]


@lru_cache(maxsize=65_536)  # words repeat: hashing each of them once makes collating several times faster
def _numbers(word: str, buckets: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
    marked = f"<{word}>"
    grams = [marked]
    for length in lengths:
        grams += slices(marked, length)
    return tuple(crc32_bucket(gram, buckets) for gram in grams)
