"""The vectorizer of qdrl, number for number, so that its dictionaries and models go on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from simlearn.components import Component
from simlearn.encoders.buckets import qdrl_bucket
from simlearn.encoders.ngrams import pairs_of
from simlearn.encoders.normalizers import AsciiFold, Normalizer
from simlearn.encoders.vocabulary import Vocabulary

_TRIGRAM = re.compile("(?=(...))", re.DOTALL)


class QdrlVectorizer(Component):
    """Words, pairs of words and trigrams as qdrl's `DictionaryTextVectorizer` numbers them.

    All orders share one range of numbers: the word `ala` and the trigram `ala` are one. Trigrams run over spaces and
    mark no ends of words; an empty text, and a doubled space, have the token `""`. Unknown tokens fall into
    `num_oov_tokens - 1` buckets behind the vocabulary. `NGramVectorizer` mends all of these.

    Args:
        vocabulary: qdrl's dictionary.
        word_unigrams_limit: how many words of a text count; 0 for none.
        word_bigrams_limit: how many pairs of neighbours, likewise.
        char_trigrams_limit: how many trigrams, likewise.
        num_oov_tokens: at least 2.
        normalize: what is done to a text before; None takes `AsciiFold`, as qdrl does.

    Raises:
        ValueError: for fewer than 2 `num_oov_tokens`, negative limits, and limits that are all 0.

    >>> vocabulary = Vocabulary(["ala", "ma", "kota", "la ", " ma", "ma ", "ala ma"])
    >>> vectorizer = QdrlVectorizer(
    ...     vocabulary, word_unigrams_limit=3, word_bigrams_limit=2, char_trigrams_limit=6, num_oov_tokens=2
    ... )
    >>> vectorizer("ala ma kota zielonego")
    [1, 2, 3, 7, 8, 1, 4, 8, 5, 6, 8]
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        word_unigrams_limit: int,
        word_bigrams_limit: int,
        char_trigrams_limit: int,
        num_oov_tokens: int,
        normalize: Normalizer | None = None,
    ) -> None:
        limits = (word_unigrams_limit, word_bigrams_limit, char_trigrams_limit)
        if min(limits) < 0 or not any(limits):
            raise ValueError(f"limits must be 0 or more, and one of them above 0, got {limits}")
        if num_oov_tokens < 2:
            raise ValueError(
                f"num_oov_tokens must be at least 2, got {num_oov_tokens}: qdrl has one bucket less than that number; "
                "NGramVectorizer(oov_buckets=0) has none"
            )
        self.vocabulary = vocabulary
        self.word_unigrams_limit, self.word_bigrams_limit, self.char_trigrams_limit = limits
        self.num_oov_tokens = num_oov_tokens
        self.normalize = AsciiFold() if normalize is None else normalize

    @property
    def buckets(self) -> int:
        """V + `num_oov_tokens`: what `num_embeddings` must be at least."""
        return len(self.vocabulary) + self.num_oov_tokens

    def blocks(self, text: str) -> list[list[int]]:
        """The numbers of words, of pairs and of trigrams, each within its limit and without padding."""
        cleaned = self.normalize(text)
        words = cleaned.split(" ")
        return [
            self._numbers(words[: self.word_unigrams_limit]),
            self._numbers(pairs_of(words)[: self.word_bigrams_limit]),
            self._numbers(_TRIGRAM.findall(cleaned)[: self.char_trigrams_limit]),
        ]

    def __call__(self, text: str) -> list[int]:
        """The numbers of a text, each in [1, `buckets`), without padding."""
        return [number for block in self.blocks(text) for number in block]

    def padded(self, texts: Sequence[str]) -> Tensor:
        """(N, L) int64 with every block filled up with 0 to its limit, as qdrl's models take it; L is their sum."""
        limits = (self.word_unigrams_limit, self.word_bigrams_limit, self.char_trigrams_limit)
        rows = [
            [number for block, limit in zip(self.blocks(text), limits, strict=True) for number in _filled(block, limit)]
            for text in texts
        ]
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), sum(limits))

    def _numbers(self, tokens: Sequence[str]) -> list[int]:
        known, start = self.vocabulary.ids.get, len(self.vocabulary) + 1
        return [known(token) or start + qdrl_bucket(token, self.num_oov_tokens) for token in tokens]


def _filled(block: list[int], limit: int) -> list[int]:
    return block + [0] * (limit - len(block))
