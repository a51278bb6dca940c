"""Files of dialogues with candidates for what is said next, as a data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset

from simlearn.data.dialogues.dialogue import Dialogue
from simlearn.data.dialogues.layouts import LAYOUTS, Place, dialogue_of_dstc7, text_of
from simlearn.files import LoadError
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample


class ResponseSelectionFile(Dataset[SimilarityRankingSample]):
    r"""Dialogues and their candidates: the data set of a `RankingSimilarityDataLoader`, or as `pairs()` of others.

    The file is walked through once, for where its dialogues are; each is read when it is asked for, and nothing is kept
    beside the file. The query of a dialogue is its turns in their order, joined; give the encoder
    `truncation_side="left"`, and what is too long loses its oldest words.

    ==============  ==================================================================================================
    `"tsv"`         lines of label, utterances and a response, with tabs between them; label 1 opens a group, and lines
                    of label 0 behind it are its wrong responses
    `"ubuntu"`      Ubuntu v2: a table of Context, Utterance and Label, of which the right ones are taken, or of
                    Context, Ground Truth Utterance and distractors; `__eou__` and `__eot__` end utterances and turns
    `"convai2"`     as ParlAI has it: numbered lines, personas among them, `text \t label \t\t candidate|candidate`;
                    each exchange is a dialogue, with all before it
    `"dstc7"`       a JSON list with `messages-so-far`, `options-for-next` and `options-for-correct-answers`
    ==============  ==================================================================================================

    Args:
        path: the file, on this machine and not compressed.
        layout: of the file, see above.
        max_turns: how many of the latest turns are kept; None for all.
        template: joins turns to one text: a text that stands between them, or a function of a list of them.

    Raises:
        LoadError: for a file that cannot be read or is laid out otherwise, naming its line; when a sample is asked for,
            also for a group without a right response.
        ValueError: for an unknown layout, and a `max_turns` below 1.
    """

    def __init__(
        self,
        path: str | Path,
        layout: Literal["tsv", "ubuntu", "convai2", "dstc7"] = "tsv",
        *,
        max_turns: int | None = None,
        template: str | Callable[[Sequence[str]], str] = "\n",
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}, got {layout!r}")
        if max_turns is not None and max_turns < 1:
            raise ValueError(f"max_turns must be at least 1, got {max_turns}")
        self.path = Path(path)
        self.layout = layout
        self.max_turns = max_turns
        self.template = template
        try:
            with self.path.open("rb") as file:
                places = list(LAYOUTS[layout].places(file, str(self.path)))
            self._written = self.path.stat().st_mtime_ns
        except OSError as error:
            raise LoadError(f"{path} cannot be read: {error.strerror}") from None
        self._places = np.array(places, dtype=np.int64).reshape(-1, 4)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"ResponseSelectionFile({str(self.path)!r}, {self.layout!r}): {len(self)} dialogues"

    def dialogue(self, index: int) -> Dialogue:
        """A dialogue as it stands in the file, with all its turns.

        Raises:
            IndexError: for a number outside [−N, N).
            LoadError: where it is not what it should be, naming the line.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} dialogues, not one with the number {index}")
        place = Place(*(int(one) for one in self._places[index]))
        where = f"{self.path}, line {place.line}"
        if self.path.stat().st_mtime_ns != self._written:
            raise LoadError(f"{self.path} was changed since it was opened; open it anew")
        if self.layout == "dstc7":  # a list has to be read whole
            where = f"{self.path}, dialogue {place.number}"
            return dialogue_of_dstc7(self._entries[place.number], where).checked(where)
        with self.path.open("rb") as file:
            file.seek(place.start)
            content = text_of(file.read(place.size), where)
        return LAYOUTS[self.layout].read(content, place, str(self.path)).checked(where)

    def __getitem__(self, index: int) -> SimilarityRankingSample:
        dialogue = self.dialogue(index)
        return SimilarityRankingSample(self.query(dialogue), list(dialogue.candidates), list(dialogue.labels))

    def query(self, dialogue: Dialogue) -> str:
        """The text that asks for what is said next."""
        turns = list(dialogue.turns if self.max_turns is None else dialogue.turns[-self.max_turns :])
        return self.template.join(turns) if isinstance(self.template, str) else self.template(turns)

    def pairs(self) -> Dataset[SimilarityPairSample]:
        """Each dialogue with its first right response alone, so that those of the batch are the wrong ones."""
        return _Pairs(self)

    @cached_property
    def _entries(self) -> list[Any]:
        entries: list[Any] = json.loads(text_of(self.path.read_bytes(), str(self.path)))
        return entries

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_entries"}


class _Pairs(Dataset[SimilarityPairSample]):
    """See `ResponseSelectionFile.pairs`."""

    def __init__(self, rankings: ResponseSelectionFile) -> None:
        self.rankings = rankings

    def __len__(self) -> int:
        return len(self.rankings)

    def __getitem__(self, index: int) -> SimilarityPairSample:
        dialogue = self.rankings.dialogue(index)
        right = next(one for one, label in zip(dialogue.candidates, dialogue.labels, strict=True) if label > 0)
        return SimilarityPairSample(self.rankings.query(dialogue), right)
