"""What is done to a text before it is cut into tokens: once, alike in training, evaluation and serving."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TypeAlias

from simlearn.components import Component

Normalizer: TypeAlias = Callable[[str], str]
"""From a text to what is left of it."""


class UnicodeFold(Component):
    """Forms of one letter become one (Unicode's NFKC), and capitals small: for any script.

    >>> UnicodeFold()("Straße №5")
    'strasse no5'
    """

    def __call__(self, text: str) -> str:
        """The text, folded; line breaks and spaces stay."""
        return unicodedata.normalize("NFKC", text).casefold()


class AsciiFold(Component):
    """Small letters `a` to `z`, digits and spaces; accents fall off their letters, everything else is deleted.

    It is qdrl's `clean_phrase`. Texts in other scripts than the Latin one vanish: take `UnicodeFold` for them.

    Args:
        word_breaks: whether what is deleted between words leaves a space, and spaces are never doubled. False is
            qdrl's way, which glues the words around a line break or a hyphen together.

    >>> AsciiFold()("a - b"), AsciiFold(word_breaks=True)("a - b"), AsciiFold()("łódź/Gdańsk")
    ('a  b', 'a b', 'lodzgdansk')
    """

    def __init__(self, word_breaks: bool = False) -> None:
        self.word_breaks = word_breaks

    def __call__(self, text: str) -> str:
        """The text, folded."""
        plain = text.replace("ł", "l").replace("Ł", "L")  # a letter of its own, which has no accent to lose
        folded = unicodedata.normalize("NFKD", plain).lower()
        if not self.word_breaks:
            return _FOREIGN.sub("", folded).strip()
        return " ".join(_FOREIGN_RUN.sub(" ", _MARK.sub("", folded)).split())


_FOREIGN = re.compile("[^a-z0-9 ]")
_FOREIGN_RUN = re.compile("[^a-z0-9 ]+")
_MARK = re.compile("[\u0300-\u036f]")
"""Accents, which stand behind their letters once they are taken apart: no end of a word."""
