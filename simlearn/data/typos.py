"""Texts as hurried fingers type them: to train on, and to see how a model bears them."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Literal

_SPACES = re.compile(r"(\s+)")
_NUMBERS = struct.Struct("<8Q")
"""What a hash of 64 bytes tells: a number for each of eight tokens."""

_ROWS: Final = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwertz": ("qwertzuiop", "asdfghjkl", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
}
_SHIFTS: Final = (0.0, 0.25, 0.75)
"""How far to the right each row of keys stands, in keys."""

Operation = Literal["substitute", "delete", "transpose"]
OPERATIONS: Final[tuple[Operation, ...]] = ("substitute", "delete", "transpose")
_DELETE, _TRANSPOSE = 1, 2
_BELOW_1: Final = 1 - 2.0**-40
"""Keeps a quotient from being rounded up to 1."""


class KeyboardTypos:
    """Puts typing errors into a text: a pure function of the text and a seed.

    Each token, between spaces, is hit with a probability, by exactly one operation: a letter becomes one of a
    neighbouring key, a character is lost, or two neighbours change places. Tokens of one character stay.

    As augmentation, new in every epoch: `PairsSimilarityDataLoader(..., query_transform=KeyboardTypos(0.3))`. As
    evaluation: `RetrievalEvaluator(..., query_transforms={"": None, "typos_prob=0.5": KeyboardTypos(0.5)})`.

    Args:
        probability: of an error in a token, from 0 to 1.
        mix: the share of each operation; None for qdrl's 50 %, 25 % and 25 %.
        layout: of the keyboard.
        no_ops: whether an operation may leave the token as it is, as in qdrl: a slip on a digit, a swap of two equal
            letters. Otherwise it is drawn among what changes the token, so that the rate of errors is `probability`
            but for tokens that nothing can change.

    Raises:
        ValueError: for a probability outside [0, 1], shares that are negative, all 0 or not finite, and names that are
            not known.

    >>> typos = KeyboardTypos(1.0)
    >>> typos("red spoon", seed=1) == typos("red spoon", seed=1) != "red spoon"
    True
    """

    def __init__(
        self,
        probability: float,
        mix: Mapping[Operation, float] | None = None,
        layout: Literal["qwerty", "qwertz", "azerty"] = "qwerty",
        no_ops: bool = False,
    ) -> None:
        shares = {"substitute": 0.5, "delete": 0.25, "transpose": 0.25} if mix is None else dict(mix)
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be from 0 to 1, got {probability}")
        if unknown := sorted(set(shares) - set(OPERATIONS)):
            raise ValueError(f"mix names {unknown}; the operations are {', '.join(OPERATIONS)}")
        if not all(share >= 0 for share in shares.values()) or not 0 < sum(shares.values()) < math.inf:
            raise ValueError(f"the shares of mix must be finite numbers of 0 or more, and not all 0, got {shares}")
        if layout not in _ROWS:
            raise ValueError(f"layout must be one of {', '.join(_ROWS)}, got {layout!r}")
        self.probability = probability
        self.mix = shares
        self.layout = layout
        self.no_ops = no_ops
        self._neighbours = neighbours(layout)
        self._bounds = list(accumulate(shares.get(operation, 0.0) for operation in OPERATIONS))

    def __call__(self, text: str, seed: int = 42) -> str:
        """The text with errors; the same for one text and seed in every process and run."""
        if not isinstance(text, str):
            raise TypeError(f"KeyboardTypos reads texts, got a {type(text).__name__}")
        if not self.probability:
            return text
        hashed = blake2b(text.encode("utf-8", "surrogatepass"), salt=(seed % 2**64).to_bytes(8, "little")).digest()
        parts = _SPACES.split(text)  # tokens at even places; the first and the last may be empty
        numbers = _NUMBERS.unpack(hashed)
        for place in range(0, len(parts), 2):
            number = (place >> 1) % len(numbers)
            if place and not number:
                hashed = blake2b(hashed).digest()
                numbers = _NUMBERS.unpack(hashed)
            drawn = (numbers[number] >> 11) * 2.0**-53  # below 1
            if drawn < self.probability and len(parts[place]) > 1:
                parts[place] = self._hit(parts[place], drawn / self.probability)
        return "".join(parts)

    def __repr__(self) -> str:
        return f"KeyboardTypos({self.probability}, {self.mix}, {self.layout!r}, no_ops={self.no_ops})"

    def _hit(self, token: str, drawn: float) -> str:
        """The token with one error, which a number from 0 to 1 draws: each choice takes a part of it, and leaves one.

        First tried is what most often changes the token, without looking for all that does. Where it changes nothing,
        the choice is made again among what would: so each of those is as likely as if there were no other.
        """
        operation, drawn = _choose(self._bounds, drawn)
        changed, drawn = self._apply(token, operation, range(len(token) - (operation == _TRANSPOSE)), drawn)
        if self.no_ops or changed != token:
            return changed
        places = [self._places(token, one) for one in range(len(OPERATIONS))]
        if not places[operation]:
            shares = [self.mix.get(one, 0.0) * bool(own) for one, own in zip(OPERATIONS, places, strict=True)]
            if not any(shares):
                return token
            operation, drawn = _choose(list(accumulate(shares)), drawn)
        return self._apply(token, operation, places[operation], drawn)[0]

    def _places(self, token: str, operation: int) -> list[int]:
        """Where an operation changes a token."""
        if operation == _DELETE:
            return list(range(len(token)))
        if operation == _TRANSPOSE:
            return [place for place in range(len(token) - 1) if token[place] != token[place + 1]]
        return [place for place, character in enumerate(token) if character.lower() in self._neighbours]

    def _apply(self, token: str, operation: int, places: Sequence[int], drawn: float) -> tuple[str, float]:
        """The token after an operation at one of some places, and what is left of the number that chose it."""
        drawn *= len(places)
        nth = int(drawn)
        place, drawn = places[nth], drawn - nth
        if operation == _DELETE:
            return token[:place] + token[place + 1 :], drawn
        if operation == _TRANSPOSE:
            return token[:place] + token[place + 1] + token[place] + token[place + 2 :], drawn
        character = token[place]
        near = self._neighbours.get(character.lower())
        if near is None:
            return token, drawn
        if self.no_ops and character.lower() == "m":
            near += "m"  # as qdrl's list of keys has it
        slip = near[int(drawn * len(near))]
        return token[:place] + (slip.upper() if character.isupper() else slip) + token[place + 1 :], drawn


def _choose(bounds: Sequence[float], drawn: float) -> tuple[int, float]:
    """The number of the share that a number from 0 to 1 falls into, and where within it: another such number."""
    at = drawn * bounds[-1]
    low = 0.0
    for number, bound in enumerate(bounds):
        if at < bound:
            return number, (at - low) / (bound - low) * _BELOW_1
        low = bound
    return bounds.index(bounds[-1]), 0.0  # shares so small that the product was rounded up


def neighbours(layout: str) -> dict[str, str]:
    """The letters on keys that touch a letter's key.

    >>> neighbours("qwerty")["a"]
    'qwsz'
    """
    places = {
        letter: (column + shift, row)
        for row, (letters, shift) in enumerate(zip(_ROWS[layout], _SHIFTS, strict=True))
        for column, letter in enumerate(letters)
    }
    return {
        letter: "".join(
            other
            for other, (across, row) in places.items()
            if other != letter and abs(row - own_row) <= 1 and abs(across - own) <= (1 if row == own_row else 0.8)
        )
        for letter, (own, own_row) in places.items()
    }
