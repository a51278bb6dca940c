"""An encoder that puts a prompt before what it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simlearn.encoders.encoder import Encoder


@dataclass(frozen=True)
class Prompted:
    """An encoder with a prompt: `text.with_prompt("query: ")`. It shares the encoder and its weights.

    Args:
        encoder: the encoder.
        prompt: the text put before every object.
    """

    encoder: Encoder
    prompt: str
