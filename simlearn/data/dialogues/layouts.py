"""How files of dialogues are laid out: where each dialogue begins, and how it is read.

A layout walks through a file once and tells where its dialogues are; afterwards each is read by itself.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from simlearn.data.dialogues.dialogue import Dialogue
from simlearn.files import LoadError


class Place(NamedTuple):
    """Where a dialogue stands in its file.

    Args:
        start: its first byte.
        size: its bytes.
        line: its first line, from 1.
        number: which of several dialogues that are read from the same bytes.
    """

    start: int
    size: int
    line: int
    number: int = 0


class Layout(NamedTuple):
    """A kind of files.

    Args:
        places: walks through a file.
        read: one dialogue, from its bytes as text, its place, and the name of the file.
    """

    places: Callable[[IO[bytes], str], Iterator[Place]]
    read: Callable[[str, Place, str], Dialogue]


def text_of(content: bytes, where: str) -> str:
    """UTF-8 as text.

    Raises:
        LoadError: for other bytes.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LoadError(f"{where}: it is not UTF-8 ({error.reason} at byte {error.start}); convert the file") from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """The first byte, number and content of each line that is not empty."""
    start = 0
    for number, line in enumerate(file, 1):
        if line.strip():
            yield start, number, line
        start += len(line)


# label \t utterance \t ... \t response: label 1 opens a group, 0 adds to it


def _tsv_places(file: IO[bytes], name: str) -> Iterator[Place]:
    first: tuple[int, int] | None = None
    end = 0
    for start, number, line in _lines(file):
        label = line.split(b"\t", 1)[0].strip()
        if label not in (b"0", b"1"):
            raise LoadError(
                f"{name}, line {number}: the label must be 0 or 1, got {label[:40].decode(errors='replace')!r}; lines "
                "are label, utterances and response, with tabs between them"
            )
        if label == b"1" and first is not None:
            yield Place(first[0], end - first[0], first[1])
            first = None
        if first is None:
            if label == b"0":
                raise LoadError(f"{name}, line {number}: a group begins with its right response, of label 1")
            first = (start, number)
        end = start + len(line)
    if first is not None:
        yield Place(first[0], end - first[0], first[1])


def _read_tsv(content: str, place: Place, name: str) -> Dialogue:
    turns: list[str] = []
    candidates, labels = [], []
    for number, line in enumerate(content.split("\n"), place.line):  # splitlines knows more ends than files have
        if not line.strip():
            continue
        label, *rest = line.rstrip("\r\n").split("\t")
        if len(rest) < 2:
            raise LoadError(
                f"{name}, line {number}: a line is label, at least one utterance and a response, with tabs between "
                f"them; got {len(rest) + 1} columns"
            )
        if not turns:
            turns = rest[:-1]
        elif rest[:-1] != turns:
            raise LoadError(
                f"{name}, line {number}: it has other utterances than line {place.line}, whose group it is in; a new "
                "group begins with label 1"
            )
        candidates.append(rest[-1])
        labels.append(float(label))
    return Dialogue(turns, candidates, labels)


# Ubuntu v2: a table of Context, Utterance, Label; or Context, Ground Truth Utterance, Distractor_0, ...

_TURN_END = re.compile(r"\s*(?:__eou__\s*)*__eot__\s*|\s*__eou__\s*(?=__eot__)")
_UTTERANCE_END = re.compile(r"\s*__eou__\s*")


def _ubuntu_places(file: IO[bytes], name: str) -> Iterator[Place]:
    header: list[str] | None = None
    for place, row in _records(file, name):
        if header is None:
            header = [column.strip().lower() for column in row]
            if header[:1] != ["context"] or len(header) < 3:
                raise LoadError(
                    f"{name}, line 1: the columns must be Context, Utterance, Label, or Context, Ground Truth "
                    f"Utterance and distractors; got {row[:4]}"
                )
            continue
        if header[2] == "label":
            if row[2].strip() not in ("0", "1", "0.0", "1.0"):
                raise LoadError(f"{name}, line {place.line}: the label must be 0 or 1, got {row[2]!r:.40}")
            if float(row[2]) == 0:  # a wrong response alone trains nothing: batches have plenty
                continue
        if len(row) != len(header):
            raise LoadError(f"{name}, line {place.line}: it has {len(row)} columns, the first line {len(header)}")
        yield place._replace(number=int(header[2] != "label"))


def _records(file: IO[bytes], name: str) -> Iterator[tuple[Place, list[str]]]:
    """The records of a CSV file, which may hold line breaks, and their places."""
    read: list[bytes] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(file, 1):
            read.append(line)
            yield text_of(line, f"{name}, line {number}")

    start = line = 0
    for row in csv.reader(texts()):
        size = sum(map(len, read))
        if row:
            yield Place(start, size, line + 1), row
        start, line = start + size, line + len(read)
        read.clear()


def _read_ubuntu(content: str, place: Place, name: str) -> Dialogue:
    row = next(csv.reader(io.StringIO(content)))
    turns = [" ".join(_UTTERANCE_END.split(turn)).strip() for turn in _TURN_END.split(row[0])]
    candidates = row[1:] if place.number else row[1:2]
    cleaned = [" ".join(_UTTERANCE_END.split(one)).strip() for one in candidates]
    return Dialogue([turn for turn in turns if turn], cleaned, [1.0] + [0.0] * (len(cleaned) - 1))


# ConvAI2 as ParlAI has it: "N your persona: ..." and "N text \t label \t\t candidate|candidate|..."


def _convai2_places(file: IO[bytes], name: str) -> Iterator[Place]:
    """Each exchange of an episode is a dialogue, whose bytes begin with the episode's."""
    first, line, count = 0, 1, 0
    for start, number, content in _lines(file):
        turn, _, rest = content.partition(b" ")
        if not turn.isdigit():
            raise LoadError(
                f"{name}, line {number}: a line begins with its number in the episode, got {content[:40]!r}"
            )
        if int(turn) == 1:
            first, line, count = start, number, 0
        if b"\t" in rest:
            yield Place(first, start + len(content) - first, line, count)
            count += 1


def _read_convai2(content: str, place: Place, name: str) -> Dialogue:
    turns: list[str] = []
    *before, last = [line.rstrip("\r") for line in content.split("\n") if line.strip()]
    for line in before:
        text, *said = line.partition(" ")[2].split("\t")
        turns += [text, *said[:1]]
    text, label, *rest = last.partition(" ")[2].split("\t")
    candidates = [one for one in rest[-1].split("|") if one] if rest else []
    if label in candidates:
        candidates.remove(label)
    return Dialogue([*turns, text], [label, *candidates], [1.0] + [0.0] * len(candidates))


# DSTC7: a JSON list


def _dstc7_places(file: IO[bytes], name: str) -> Iterator[Place]:
    content = file.read()
    try:
        dialogues = json.loads(text_of(content, name))
    except json.JSONDecodeError as error:
        raise LoadError(f"{name}, line {error.lineno}: it is no JSON: {error.msg}") from None
    if not isinstance(dialogues, list):
        raise LoadError(f"{name}: it must be a list of dialogues, got {type(dialogues).__name__}")
    return (Place(0, len(content), 1, number) for number in range(len(dialogues)))


def _read_dstc7(content: str, place: Place, name: str) -> Dialogue:
    return dialogue_of_dstc7(json.loads(content)[place.number], f"{name}, dialogue {place.number}")


def dialogue_of_dstc7(entry: Any, where: str) -> Dialogue:
    """One entry of a DSTC7 file.

    Raises:
        LoadError: naming what it lacks.
    """
    try:
        turns = [str(message["utterance"]) for message in entry["messages-so-far"]]
        right = [str(one["utterance"]) for one in entry["options-for-correct-answers"]]
        options = [str(one["utterance"]) for one in entry["options-for-next"]]
    except (KeyError, TypeError) as error:
        raise LoadError(f"{where}: it lacks {error}") from None
    wrong = [one for one in options if one not in right]
    return Dialogue(turns, [*right, *wrong], [1.0] * len(right) + [0.0] * len(wrong))


LAYOUTS = {
    "tsv": Layout(_tsv_places, _read_tsv),
    "ubuntu": Layout(_ubuntu_places, _read_ubuntu),
    "convai2": Layout(_convai2_places, _read_convai2),
    "dstc7": Layout(_dstc7_places, _read_dstc7),
}
