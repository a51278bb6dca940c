"""Versioned JSON, and names that may become folders."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from simlearn.files.errors import LoadError

FORMAT_VERSION = 1


def write_json(path: str | Path, content: Any) -> None:
    """Write readable JSON; raises TypeError for what JSON cannot hold, ValueError for NaN and infinities."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        encoded = json.dumps(content, indent=2, allow_nan=False).encode("ascii")
    Path(path).write_bytes(encoded + b"\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file, and numbers that are no finite ones, raise LoadError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except FileNotFoundError:
        raise LoadError(f"{path} is missing") from None
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8, numbers of thousands of digits
        raise LoadError(f"{path} is not JSON: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no finite number")


def read_versioned_json(path: str | Path, kind: str) -> dict[str, Any]:
    """Read a JSON object with a `format_version` that this simlearn understands."""
    content = read_json(path)
    if not isinstance(content, dict) or "format_version" not in content:
        raise LoadError(f"{path} is no {kind} of simlearn: it has no format_version")
    version = content["format_version"]
    if type(version) is not int or version < 1:
        raise LoadError(f"{path} is no {kind} of simlearn: its format_version is {version!r:.40}, not 1 or higher")
    if version > FORMAT_VERSION:
        raise LoadError(
            f"{path} has format version {version}, this simlearn reads up to {FORMAT_VERSION}; upgrade simlearn"
        )
    return content


def check_name(name: str, what: str) -> str:
    """A name that may become a folder: no path in it.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_\- ]*", name):
        raise ValueError(f"{what} must be made of the letters A to Z, digits, '_', '-' and spaces, got {name!r:.100}")
    return name
