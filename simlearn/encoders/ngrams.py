"""Texts as words, pairs of words and n-grams of characters: the tokens that a vocabulary counts and numbers."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, pairwise

from simlearn.components import Component
from simlearn.encoders.normalizers import Normalizer, UnicodeFold

LONGEST = 100
"""Of an n-gram: a file may ask for all lengths up to 100,000, and a long word then takes gigabytes."""

CHARACTERS = "~"
"""Stands before n-grams of characters: no word begins so, and the word `ala` is no part of `mala`."""


def check_lengths(lengths: Sequence[int]) -> tuple[int, ...]:
    """The lengths of n-grams.

    Raises:
        ValueError: for lengths that repeat or are not in [1, 100].
    """
    if any(length < 1 for length in lengths):
        raise ValueError(f"lengths of n-grams must be at least 1, got {tuple(lengths)!s:.100}")
    if len(set(lengths)) < len(lengths) or max(lengths, default=1) > LONGEST:
        raise ValueError(f"lengths must be distinct and at most {LONGEST}, got {tuple(lengths)!s:.100}")
    return tuple(lengths)


def slices(marked: str, length: int) -> list[str]:
    """The n-grams of one length, of a word that is marked at both ends.

    >>> slices("<ala>", 3)
    ['<al', 'ala', 'la>']
    """
    return [marked[start : start + length] for start in range(len(marked) - length + 1)]


class NGrams(Component):
    """The tokens of a text, for each order of n-grams: words, pairs of words, characters of each length.

    Words are runs of letters, digits and the marks that belong to them, in any script. The n-grams of characters are
    those of each word between `<` and `>`, so that ends of words differ from their middles.

    Args:
        words: whether words are tokens.
        word_pairs: whether neighbours are, joined by a space.
        characters: the lengths of the n-grams of characters.
        normalize: what is done to a text before; None takes `UnicodeFold`.

    Raises:
        ValueError: where there would be no tokens at all, and for lengths that repeat or are not in [1, 100].

    >>> NGrams(word_pairs=True, characters=(3,))("Ala ma")
    ['ala', 'ma', 'ala ma', '~<al', '~ala', '~la>', '~<ma', '~ma>']
    """

    def __init__(
        self,
        words: bool = True,
        word_pairs: bool = False,
        characters: Sequence[int] = (3,),
        normalize: Normalizer | None = None,
    ) -> None:
        self.words = bool(words)
        self.word_pairs = bool(word_pairs)
        self.characters = check_lengths(characters)
        self.normalize = UnicodeFold() if normalize is None else normalize
        if not self.orders:
            raise ValueError("neither words nor word_pairs nor characters are asked for, so a text has no tokens")

    @property
    def orders(self) -> tuple[str, ...]:
        """The names of the orders, as `("words", "word_pairs", "characters_3")`."""
        named = {"words": self.words, "word_pairs": self.word_pairs}
        return (*(name for name, taken in named.items() if taken), *(f"characters_{n}" for n in self.characters))

    def split(self, text: str) -> list[str]:
        """The words of a text."""
        return words_in(self.normalize(text))

    def of_word(self, word: str) -> list[list[str]]:
        """The n-grams of characters of a word, for each length."""
        marked = f"<{word}>"
        return [[CHARACTERS + gram for gram in slices(marked, length)] for length in self.characters]

    def by_order(self, text: str) -> list[list[str]]:
        """The tokens of a text, for each of `orders`."""
        words = self.split(text)
        given = [words] if self.words else []
        if self.word_pairs:
            given.append(pairs_of(words))
        of_words = [self.of_word(word) for word in words]
        return given + [[gram for grams in of_words for gram in grams[n]] for n in range(len(self.characters))]

    def __call__(self, text: str) -> list[str]:
        """All tokens of a text, one order behind the other."""
        return list(chain.from_iterable(self.by_order(text)))


def pairs_of(words: Iterable[str]) -> list[str]:
    """Neighbours, joined by a space."""
    return [f"{one} {other}" for one, other in pairwise(words)]


def words_in(text: str) -> list[str]:
    """The runs of letters, digits and their marks: vowel signs of Indic scripts, tones of Thai, accents.

    >>> words_in("np.linalg_norm"), words_in("हिन्दी भाषा")
    (['np', 'linalg', 'norm'], ['हिन्दी', 'भाषा'])
    """
    found: list[str] = _word().findall(text.replace("_", " "))
    return found


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    """What the `re` module takes for a letter is no mark: it would cut Hindi at every vowel."""
    marks = [number for number in range(min(sys.maxunicode, 0x20000)) if unicodedata.category(chr(number))[0] == "M"]
    starts = [number for place, number in enumerate(marks) if not place or marks[place - 1] != number - 1]
    ends = [number for place, number in enumerate(marks, 1) if place == len(marks) or marks[place] != number + 1]
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return re.compile(rf"[\w{ranges}]+")
