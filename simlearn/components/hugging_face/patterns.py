"""Regular expressions that may try every way to split a text.

Those of real tokenizers are alternatives of a few character classes in a row. What backtracks without end needs more:
a repeated group that repeats or chooses inside, many repetitions in a row, a reference back, a call of itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_SIZE = 20_000
_MAX_TIMES = 1_000
_MAX_ROW = 3  # unbounded repetitions after each other; those of GPT-4o's pattern are 2
_TIMES = re.compile(r"\{(\d*)(,?)(\d*)\}")
_REFERENCE = re.compile(r"\\[gk]['<]|\\[1-9]|\(\?(?:R|&|P[>=]|\d|[+-]\d|\(|\{|@|~)|\(\*")
_COMMENT = re.compile(r"\(\?(?:#|[a-wyz-]*x)")
_OPENING = re.compile(r"\((?:\?(?:[ima-]*[:)]|<?[=!]|>|<\w+>))?")


@dataclass
class _Group:
    """What has been seen of a group.

    Args:
        repeats: whether anything in it is repeated a number of times that may differ.
        chooses: whether it has alternatives.
        times: how often a fixed number of repetitions writes the same thing anew.
        row: repetitions without end after each other, in this alternative.
        longest_row: in any alternative.
    """

    repeats: bool = False
    chooses: bool = False
    times: int = 1
    row: int = 0
    longest_row: int = 0


def pattern_fault(pattern: str | None) -> str | None:
    """Why a regular expression in the syntax of Oniguruma may take for ever; None where it may not.

    It judges by form and errs on the safe side: a pattern that it lets pass needs at most the third power of a text's
    length.
    """
    if pattern is None:
        return None
    if len(pattern) > _MAX_SIZE:
        return f"it is longer than {_MAX_SIZE:,} characters"
    groups, last, at = [_Group()], _Group(), 0
    while at < len(pattern):
        if _REFERENCE.match(pattern, at):
            return "it refers back to a group, or calls one"
        if _COMMENT.match(pattern, at):
            return "it has comments, in which anything may hide"
        character = pattern[at]
        if character == "\\":
            last, at = _Group(), at + 2
        elif character == "[":
            last, at = _Group(), _behind_class(pattern, at)
        elif character == "(":
            groups.append(_Group())
            opening = _OPENING.match(pattern, at)
            at = opening.end() if opening else at + 1
        elif character == ")":
            if len(groups) > 1:
                last = groups.pop()
                last.longest_row = max(last.longest_row, last.row)
                groups[-1].row += last.longest_row
                groups[-1].repeats |= last.repeats
                groups[-1].chooses |= last.chooses
                groups[-1].times = max(groups[-1].times, last.times)
            at += 1
        elif character == "|":
            groups[-1].chooses = True
            groups[-1].longest_row, groups[-1].row = max(groups[-1].longest_row, groups[-1].row), 0
            last, at = _Group(), at + 1
        elif times := _repetition(pattern, at):
            least, most, behind = times
            fixed = most if most is not None and most == least else 1
            last = _Group(last.repeats, last.chooses, last.times * fixed)
            if last.times > _MAX_TIMES or (most is not None and most > _MAX_TIMES):
                return f"it repeats something more than {_MAX_TIMES:,} times"
            if most is None or most > 1:
                if last.repeats or last.chooses:
                    return "it repeats a group that repeats or chooses something itself"
                last.repeats = most != least
                groups[-1].row += most is None or (last.repeats and most > 16)
                groups[-1].repeats |= last.repeats
            groups[-1].times = max(groups[-1].times, last.times)
            at = behind + 1 if pattern[behind : behind + 1] in ("?", "+") else behind  # lazy, or possessive
        else:
            last, at = _Group(), at + 1
        if groups[-1].row > _MAX_ROW:
            return f"it has more than {_MAX_ROW} repetitions in a row"
    return None


def _repetition(pattern: str, at: int) -> tuple[int, int | None, int] | None:
    """The fewest and most times (None: no end), and where the pattern goes on; None where nothing is repeated."""
    if pattern[at] in "*+":
        return int(pattern[at] == "+"), None, at + 1
    if pattern[at] == "?":
        return 0, 1, at + 1
    found = _TIMES.match(pattern, at)
    if found is None or not (found[1] or found[3]):
        return None
    least = int(found[1][:9] or 0)
    most = found[3] if found[2] else found[1]
    return least, int(most[:9]) if most else None, found.end()


def _behind_class(pattern: str, at: int) -> int:
    """Past `[...]`, which may hold further classes."""
    depth, start = 0, at
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "[":
            depth += 1
            start = at
            if pattern[at + 1 : at + 2] == "^":
                start = at = at + 1
        elif pattern[at] == "]" and at > start + 1:  # one that stands first is a character
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return at
