"""What in a `tokenizer.json` makes a short text long or a fast tokenizer slow.

A tokenizer runs on every text that a service gets, so it may not multiply a text, pad it without end, or match a
pattern that tries every way to split it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from simlearn.components.hugging_face.patterns import pattern_fault
from simlearn.files import UntrustedError

MAX_LENGTH = 16_384
"""Longest that texts may be padded to: models pad to 77, 128 or 512, and attention squares it."""
MAX_MULTIPLE = 1_024
_MAX_GROWTH = 128  # of ALBERT's 99: a compiled map, 33, and " " by "▁", 3
# How many bytes the parts make of one at most. What Unicode itself allows comes once for free; if a Replace undoes it
# in between, it comes again.
_UNICODE = {"NFD": 3, "NFKD": 11, "NFKC": 11, "BertNormalizer": 3}
_ALWAYS = {"ByteLevel": 2, "Metaspace": 3}
_MAX_PARTS = 100
_MAX_PREFIX = 64  # bytes; "▁" has 3
_MAX_CHARSMAP = 64  # bytes that one character may become; NFKC makes 33 of the longest
_MAX_TEMPLATE = 256  # tokens around a text; instructions of one model have some twenty
MAX_ADDED = 20_000
"""Tokens beside the vocabulary, each of which is looked for on its own; Gemma has 6,400, 200,000 take 9 seconds."""
_MAX_WORD = 1_000  # characters that WordPiece tries all pieces of; everyone has 100


def is_tokenizer(content: Any) -> bool:
    """Whether JSON is a tokenizer of the tokenizers library, whatever its file is called."""
    return isinstance(content, dict) and isinstance(content.get("model"), dict) and "added_tokens" in content


def check_tokenizer(file: Path, content: dict[str, Any]) -> None:
    """Refuse a tokenizer that multiplies a text's length or may take for ever.

    Args:
        file: where it stands, for the errors.
        content: as `tokenizer.json` has it.

    Raises:
        UntrustedError: naming the file and the part.
    """
    normalizers = _parts(content.get("normalizer"), "normalizers")
    steps = [*normalizers, *_parts(content.get("pre_tokenizer"), "pretokenizers")]
    if len(steps) > _MAX_PARTS:
        _refuse(file, f"{len(steps)} normalizers and pre-tokenizers", "no model needs more than a few")
    growth, is_first = 1, True
    for step in steps:
        kind = step.get("type")
        if kind == "Replace":
            growth *= _replace_growth(file, step)
        elif kind == "Prepend":
            if len(str(step.get("prepend", "")).encode("utf-8", "replace")) > _MAX_PREFIX:
                _refuse(file, "a Prepend", f"it puts more than {_MAX_PREFIX} bytes before every text")
        elif kind == "Precompiled" or kind in _UNICODE:
            longest = _UNICODE.get(str(kind)) or _longest_replacement(step.get("precompiled_charsmap"))
            if longest > _MAX_CHARSMAP:
                _refuse(file, "a Precompiled normalizer", f"it makes {longest} bytes of one character")
            growth *= 1 if is_first else max(1, longest)
            is_first = False
        growth *= _ALWAYS.get(str(kind), 1)
        if fault := pattern_fault(_pattern(step)):
            _refuse(file, f"the pattern {_pattern(step)!r:.100}", fault)
    if growth > _MAX_GROWTH:
        _refuse(file, "normalizers", f"together they make a text up to {growth} times as long")
    _check_template(file, content.get("post_processor"))
    _check_lengths(file, content)
    if len(content["added_tokens"] or ()) > MAX_ADDED:
        _refuse(file, f"{len(content['added_tokens']):,} added tokens", f"no model has more than {MAX_ADDED:,}")
    word = content["model"].get("max_input_chars_per_word")
    if isinstance(word, (int, float)) and word > _MAX_WORD:
        _refuse(file, f"'max_input_chars_per_word' {word}", "it tries all pieces of a word of that length")


def _refuse(file: Path, what: str, why: str) -> NoReturn:
    raise UntrustedError(
        f"{file} has {what}: {why}; a text of a few bytes could take gigabytes or hours. Use the tokenizer that the "
        "model was trained with"
    )


def _parts(part: Any, names: str) -> Iterator[dict[str, Any]]:
    """The parts of a part, sequences within sequences laid flat. JSON is at most 100 deep."""
    if not isinstance(part, dict):
        return
    if isinstance(part.get(names), list):
        for inner in part[names]:
            yield from _parts(inner, names)
    else:
        yield part


def _pattern(step: dict[str, Any]) -> str | None:
    pattern = step.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    return regex if isinstance(regex, str) else None


def _replace_growth(file: Path, step: dict[str, Any]) -> int:
    """How many bytes at most come of one byte."""
    pattern, new = step.get("pattern"), len(str(step.get("content", "")).encode("utf-8", "replace"))
    text = pattern.get("String") if isinstance(pattern, dict) else pattern
    if text == "" and new:
        _refuse(file, "a Replace of the empty text", "it writes between all characters")
    # A regular expression may match a single byte, or none.
    old = len(text.encode("utf-8", "replace")) if isinstance(text, str) and text else 1
    return max(1, math.ceil(new / old))


def _longest_replacement(charsmap: Any) -> int:
    """Of a compiled map: the size of a trie, the trie, and the replacements, which end in bytes of zero."""
    try:
        data = base64.b64decode(charsmap if isinstance(charsmap, (str, bytes)) else b"")
    except (binascii.Error, ValueError):
        return 0  # the tokenizers library refuses it
    start = 4 + int.from_bytes(data[:4], "little")
    return max(map(len, data[start:].split(b"\0")), default=0)


def _check_template(file: Path, processor: Any) -> None:
    for part in _parts(processor, "processors"):
        special = part.get("special_tokens")
        sizes = {
            name: len(token["ids"])
            for name, token in (special.items() if isinstance(special, dict) else ())
            if isinstance(token, dict) and isinstance(token.get("ids"), list)
        }
        for template in (part.get("single"), part.get("pair")):
            pieces = [piece for piece in template if isinstance(piece, dict)] if isinstance(template, list) else []
            around = [str(piece["SpecialToken"].get("id")) for piece in pieces if _is_object(piece.get("SpecialToken"))]
            texts = len(pieces) - len(around)
            if sum(sizes.get(name, 1) for name in around) > _MAX_TEMPLATE or texts > 4:
                _refuse(file, "a template", f"it puts more than {_MAX_TEMPLATE} tokens around a text, or repeats it")


def _is_object(content: Any) -> bool:
    return isinstance(content, dict)


def _check_lengths(file: Path, content: dict[str, Any]) -> None:
    padding, truncation = content.get("padding"), content.get("truncation")
    if isinstance(padding, dict):
        strategy = padding.get("strategy")
        fixed = strategy.get("Fixed") if isinstance(strategy, dict) else None
        if isinstance(fixed, (int, float)) and fixed > MAX_LENGTH:
            _refuse(file, f"a padding to {fixed} tokens", f"more than {MAX_LENGTH} are no text's length")
        multiple = padding.get("pad_to_multiple_of")
        if isinstance(multiple, (int, float)) and multiple > MAX_MULTIPLE:
            _refuse(file, f"'pad_to_multiple_of' {multiple}", f"more than {MAX_MULTIPLE} serves no hardware")
    if isinstance(truncation, dict):
        stride, longest = truncation.get("stride"), truncation.get("max_length")
        if isinstance(stride, int) and isinstance(longest, int) and stride > max(0, longest // 2):
            _refuse(file, f"a stride of {stride} tokens", "each cut of a text would repeat most of the one before")
