"""Dialogues, and what may be said next."""

from simlearn.data.dialogues.dialogue import Dialogue
from simlearn.data.dialogues.response_selection import ResponseSelectionFile

__all__ = ["Dialogue", "ResponseSelectionFile"]
