"""Texts as the numbers of known tokens, and of hash buckets for the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from simlearn.components import Component
from simlearn.encoders.buckets import crc32_bucket
from simlearn.encoders.ngrams import NGrams, pairs_of
from simlearn.encoders.normalizers import Normalizer
from simlearn.encoders.qdrl_vectorizer import QdrlVectorizer
from simlearn.encoders.vocabulary import Vocabulary

_WORDS_REMEMBERED = 200_000
"""Words repeat: what one is made of is found out once. With their numbers they take some 100 MB at most."""


class NGramVectorizer(Component):
    """Turns a text into the numbers of its words, pairs of words and n-grams of characters.

    A token of the vocabulary has its number there, 1 to V. Any other falls into a bucket by its crc32; each order of
    n-grams has buckets of its own. Number 0 stays free, for padding. Nothing gives nothing: a text without a word has
    no tokens.

    Args:
        vocabulary: the known tokens, as `NGrams` writes them; `NGramVectorizer.build` makes both at once.
        words: whether words are tokens.
        word_pairs: whether neighbours are, joined by a space.
        characters: the lengths of the n-grams of characters, of words between `<` and `>`.
        oov_buckets: buckets for unknown tokens of each order; with 0 they are left out.
        limits: how many tokens of a text are taken of an order at most, by its name: "words", "word_pairs",
            "characters_3".
        normalize: what is done to a text before; None takes `UnicodeFold`. It is saved and served along.

    Raises:
        ValueError: for negative buckets, limits below 1 or of an unknown order, and where there are no orders.

    >>> vectorizer = NGramVectorizer(Vocabulary(["ala", "~ala"]), oov_buckets=10)
    >>> vectorizer("Ala"), vectorizer.buckets
    ([1, 13, 2, 13], 23)
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        words: bool = True,
        word_pairs: bool = False,
        characters: Sequence[int] = (3,),
        oov_buckets: int = 50_000,
        limits: Mapping[str, int] | None = None,
        normalize: Normalizer | None = None,
    ) -> None:
        self._grams = NGrams(words, word_pairs, characters, normalize)
        if oov_buckets < 0:
            raise ValueError(f"oov_buckets must be 0 or more, got {oov_buckets}")
        if unknown := sorted(set(limits or ()) - set(self._grams.orders)):
            raise ValueError(f"limits names the orders {unknown}; those of this vectorizer are {self._grams.orders}")
        if any(limit < 1 for limit in (limits or {}).values()):
            raise ValueError(f"limits must be at least 1, got {dict(limits or {})}; leave the order itself out instead")
        self.vocabulary = vocabulary
        self.words, self.word_pairs, self.characters = self._grams.words, self._grams.word_pairs, self._grams.characters
        self.oov_buckets = oov_buckets
        self.limits = None if limits is None else dict(limits)
        self.normalize = self._grams.normalize
        self._limits = [self.limits.get(order) for order in self._grams.orders] if self.limits else None

    @cached_property  # what it holds is found out, not given: nothing that is saved or keyed
    def _remembered(self) -> dict[str, list[list[int]]]:
        return {}

    @classmethod
    def build(
        cls, texts: Iterable[str], size: int | None = None, min_count: int = 1, **options: Any
    ) -> NGramVectorizer:
        """A vectorizer whose vocabulary holds the most frequent tokens of texts.

        Args:
            texts: read once.
            size: V at most; None for all.
            min_count: how often a token must occur.
            **options: of the vectorizer.
        """
        empty = cls(Vocabulary([]), **options)
        return cls(Vocabulary.build(texts, size, min_count, empty._grams), **options)

    @staticmethod
    def qdrl(
        dictionary: Vocabulary | str | os.PathLike[str],
        *,
        word_unigrams_limit: int,
        word_bigrams_limit: int,
        char_trigrams_limit: int,
        num_oov_tokens: int,
        normalize: Normalizer | None = None,
    ) -> QdrlVectorizer:
        """The vectorizer of qdrl, number for number: see `QdrlVectorizer`."""
        return QdrlVectorizer(
            Vocabulary.of(dictionary),
            word_unigrams_limit=word_unigrams_limit,
            word_bigrams_limit=word_bigrams_limit,
            char_trigrams_limit=char_trigrams_limit,
            num_oov_tokens=num_oov_tokens,
            normalize=normalize,
        )

    @property
    def buckets(self) -> int:
        """How many numbers there are: 1 + V + `oov_buckets` for each order."""
        return 1 + len(self.vocabulary) + self.oov_buckets * len(self._grams.orders)

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text, each in [1, `buckets`), one for every occurrence; order by order."""
        words = self._grams.split(text)
        known = self._remembered
        of_words = [known[word] if word in known else self._remember(word) for word in words]
        if self._limits is None and not self.word_pairs:  # nothing that needs one order behind the other
            return [number for orders in of_words for numbers in orders for number in numbers]
        orders = [[number for one in of_words for number in one[order]] for order in range(self._word_orders)]
        if self.word_pairs:
            place = int(self.words)
            orders.insert(place, self._numbers(pairs_of(words), place))
        limits = self._limits or [None] * len(orders)
        return [number for numbers, limit in zip(orders, limits, strict=True) for number in numbers[:limit]]

    @property
    def _word_orders(self) -> int:
        return self.words + len(self.characters)

    def _remember(self, word: str) -> list[list[int]]:
        """The numbers of what a word alone decides: itself, and its n-grams of characters."""
        first = [self._numbers([word], 0)] if self.words else []
        start = self.words + self.word_pairs
        orders = first + [self._numbers(grams, start + n) for n, grams in enumerate(self._grams.of_word(word))]
        if len(self._remembered) >= _WORDS_REMEMBERED:
            self._remembered.clear()
        self._remembered[word] = orders
        return orders

    def _numbers(self, tokens: list[str], order: int) -> list[int]:
        known, buckets = self.vocabulary.ids.get, self.oov_buckets
        start = 1 + len(self.vocabulary) + order * buckets
        if not buckets:
            return [number for number in map(known, tokens) if number is not None]
        return [known(token) or start + crc32_bucket(token, buckets) for token in tokens]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_remembered"}
