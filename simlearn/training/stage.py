"""Where in its life a model is."""

from __future__ import annotations

from enum import Enum


class TrainStage(str, Enum):
    """The stage of a step; its value starts the names of what is logged."""

    TRAIN = "train"
    VALIDATION = "validation"

    def __str__(self) -> str:
        return self.value
