"""A dialogue so far, and what may be said next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simlearn.files import LoadError


@dataclass(frozen=True)
class Dialogue:
    """What was said, and candidates for what is said next.

    Args:
        turns: in their order.
        candidates: at least one.
        labels: 1 for each that is right, 0 for others.
    """

    turns: Sequence[str]
    candidates: Sequence[str]
    labels: Sequence[float]

    def checked(self, place: str) -> Dialogue:
        """The same.

        Args:
            place: where it stands, for the message.

        Raises:
            LoadError: for a dialogue without turns, candidates, or a right one among these.
        """
        if not self.turns or not any(turn.strip() for turn in self.turns):
            raise LoadError(f"{place}: nothing was said before the candidates")
        if not self.candidates:
            raise LoadError(f"{place}: there is no candidate")
        if not any(label > 0 for label in self.labels):
            raise LoadError(f"{place}: none of the {len(self.candidates)} candidates is right; mark one with label 1")
        return self
