"""The kinds of relations."""

from __future__ import annotations

from enum import Enum


class RelationKind(str, Enum):
    """Where a relation comes from; losses say which kinds they take."""

    PAIRS = "pairs"
    GROUPS = "groups"
    RANKING = "ranking"
    LABELS = "labels"
    MATRIX = "matrix"

    def __str__(self) -> str:
        return self.value
