"""Versioned JSON, and names that may become folders."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from simlearn.files.errors import LoadError

FORMAT_VERSION = 1
MAX_JSON_BYTES = 100_000_000
"""More than real models have: a `tokenizer.json` of 262,144 tokens takes 33 MB, two million Russian words 60 MB."""
_MAX_TEXT_BYTES = 200_000_000  # in memory, where one character beyond 16 bits gives all of them four bytes
_MAX_JSON_DEPTH = 100
_MAX_JSON_VALUES = 4_000_000
"""An empty list takes 3 bytes in a file and 72 in memory; a tokenizer of 262,144 tokens has 1.8 million values."""
_AT_ONCE = 2**20
_NO_STRUCTURE = bytes(set(range(256)) - set(b'[]{},"'))


def write_json(path: str | Path, content: Any) -> None:
    """Write readable JSON; raises TypeError for what JSON cannot hold, ValueError for NaN and infinities."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        encoded = json.dumps(content, indent=2, allow_nan=False).encode("ascii")
    Path(path).write_bytes(encoded + b"\n")


def read_json(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read JSON whose size, depth and number of values are looked at before anything is built of it.

    Args:
        path: the file.
        max_bytes: the largest size, for those who expect more.

    Raises:
        LoadError: for a file that is missing, damaged or too large (in memory, too), that nests deeper than 100 or
            holds more than 4,000,000 values, and for numbers that are no finite ones.
    """
    try:
        with Path(path).open("rb") as file:
            is_too_large = os.fstat(file.fileno()).st_size > max_bytes
            data = b"" if is_too_large else file.read(max_bytes + 1)
        if is_too_large or len(data) > max_bytes:
            raise LoadError(f"{path} is larger than {max_bytes:,} bytes, which no model's JSON is; it is not read")
        _check_structure(path, data)
        text = data.decode("utf-8")
        del data  # what is built may be as large once more
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except LoadError:
        raise
    except FileNotFoundError:
        raise LoadError(f"{path} is missing") from None
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, numbers of thousands of digits
        raise LoadError(f"{path} is not JSON: {error}") from None


def _check_structure(path: str | Path, data: bytes) -> None:
    """Refuse what would be huge, or too deep for the parser, which is written in C and may exhaust its stack."""
    # Nothing opens right behind a quote: that is a string, as the "[unused1]" of vocabularies.
    if 4 * len(data) > _MAX_TEXT_BYTES and _text_bytes(data) > _MAX_TEXT_BYTES:
        raise LoadError(f"{path} would take more than {_MAX_TEXT_BYTES:,} bytes of memory, which no model's JSON does")
    brackets = data.count(b"[") + data.count(b"{") - data.count(b'"[') - data.count(b'"{')
    if brackets <= _MAX_JSON_DEPTH and data.count(b",") + brackets <= _MAX_JSON_VALUES:
        return
    import numpy as np

    escaped = data.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in data else data
    marks = escaped.translate(None, _NO_STRUCTURE)
    steps = np.zeros(256, dtype=np.int8)
    steps[list(b"[{")], steps[list(b"]}")] = 1, -1
    quotes = values = depth = 0
    for start in range(0, len(marks), _AT_ONCE):
        codes = np.frombuffer(marks[start : start + _AT_ONCE], dtype=np.uint8)
        is_quote = codes == ord('"')
        is_inside = (quotes + is_quote.cumsum()) % 2 == 1  # of a string, or where one begins
        changes = steps[codes[~is_inside & ~is_quote]]
        depths = depth + changes.cumsum(dtype=np.int64)
        quotes += int(is_quote.sum())
        values += int((changes >= 0).sum())
        depth = int(depths[-1]) if len(depths) else depth
        if values > _MAX_JSON_VALUES:
            raise LoadError(f"{path} is not JSON that a model needs: it holds more than {_MAX_JSON_VALUES:,} values")
        if depths.max(initial=0) > _MAX_JSON_DEPTH:
            raise LoadError(
                f"{path} is not JSON that a model needs: it is nested more than {_MAX_JSON_DEPTH} deep, which its "
                "readers may not survive"
            )


def _text_bytes(data: bytes) -> int:
    """What UTF-8 takes as a str: the same for every character, one, two or four bytes."""
    import numpy as np

    widest, characters = 0, 0
    for start in range(0, len(data), _AT_ONCE):
        codes = np.frombuffer(data[start : start + _AT_ONCE], dtype=np.uint8)
        widest = max(widest, int(codes.max()))
        characters += int((codes & 0xC0 != 0x80).sum())  # the others go on with a character
    return characters * (4 if widest >= 0xF0 else 2 if widest >= 0xC4 else 1)


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def read_versioned_json(path: str | Path, kind: str, newest: int = FORMAT_VERSION) -> dict[str, Any]:
    """Read a JSON object with a `format_version` from 1 to `newest`."""
    content = read_json(path)
    if not isinstance(content, dict) or "format_version" not in content:
        raise LoadError(f"{path} is no {kind} of simlearn: it has no format_version")
    version = content["format_version"]
    if type(version) is not int or version < 1:
        raise LoadError(f"{path} is no {kind} of simlearn: its format_version is {version!r:.40}, not 1 or higher")
    if version > newest:
        raise LoadError(f"{path} has format version {version}, this simlearn reads up to {newest}; upgrade simlearn")
    return content


def check_name(name: str, what: str) -> str:
    """A name that may become a folder: no path in it.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_\- ]*", name):
        raise ValueError(f"{what} must be made of the letters A to Z, digits, '_', '-' and spaces, got {name!r:.100}")
    return name
