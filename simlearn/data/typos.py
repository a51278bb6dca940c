"""Texts as hurried fingers type them: to train on, and to see how a model bears them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Literal

_TOKEN = re.compile(r"\S+")

_ROWS: Final = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwertz": ("qwertzuiop", "asdfghjkl", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
}
_SHIFTS: Final = (0.0, 0.25, 0.75)
"""How far to the right each row of keys stands, in keys."""

Operation = Literal["substitute", "delete", "transpose"]
OPERATIONS: Final[tuple[Operation, ...]] = ("substitute", "delete", "transpose")


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
        ValueError: for a probability outside [0, 1], shares that are negative or all 0, and names that are not known.

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
        if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise ValueError(f"the shares of mix must be 0 or more, and not all 0, got {shares}")
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
        told = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=(seed % 2**64).to_bytes(8, "little"))
        draw = random.Random(int.from_bytes(told.digest(), "little"))
        return _TOKEN.sub(lambda found: self._token(found[0], draw), text)

    def __repr__(self) -> str:
        return f"KeyboardTypos({self.probability}, {self.mix}, {self.layout!r}, no_ops={self.no_ops})"

    def _token(self, token: str, draw: random.Random) -> str:
        if len(token) < 2 or draw.random() >= self.probability:
            return token
        if self.no_ops:
            operation = OPERATIONS[self._drawn(self._bounds, draw)]
            return self._apply(token, operation, range(len(token) - (operation == "transpose")), draw)
        places = [self._places(token, operation) for operation in OPERATIONS]
        bounds = list(accumulate(self.mix.get(o, 0.0) * bool(own) for o, own in zip(OPERATIONS, places, strict=True)))
        if not bounds[-1]:
            return token
        number = self._drawn(bounds, draw)
        return self._apply(token, OPERATIONS[number], places[number], draw)

    @staticmethod
    def _drawn(bounds: list[float], draw: random.Random) -> int:
        at = draw.random() * bounds[-1]
        return next(number for number, bound in enumerate(bounds) if at < bound)

    def _places(self, token: str, operation: Operation) -> list[int]:
        """Where an operation changes a token."""
        if operation == "delete":
            return list(range(len(token)))
        if operation == "transpose":
            return [place for place in range(len(token) - 1) if token[place] != token[place + 1]]
        return [place for place, character in enumerate(token) if character.lower() in self._neighbours]

    def _apply(self, token: str, operation: Operation, places: Sequence[int], draw: random.Random) -> str:
        place = draw.choice(places)
        if operation == "delete":
            return token[:place] + token[place + 1 :]
        if operation == "transpose":
            return token[:place] + token[place + 1] + token[place] + token[place + 2 :]
        near = self._neighbours.get(token[place].lower())
        if near is None:
            return token
        if self.no_ops and token[place].lower() == "m":
            near += "m"  # as qdrl's list of keys has it
        slip = draw.choice(near)
        return token[:place] + (slip.upper() if token[place].isupper() else slip) + token[place + 1 :]


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
