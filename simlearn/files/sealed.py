"""JSON that is replaced in one step, and knows whether it was changed since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from simlearn.files.errors import LoadError
from simlearn.files.json_files import FORMAT_VERSION, read_versioned_json
from simlearn.files.writing import replace_file


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON in one step, with its format version and a checksum.

    Raises:
        TypeError: for what JSON cannot hold.
        ValueError: for NaN and infinities.
        OSError: when it cannot be written; an older file is as before.
    """
    whole = {"format_version": FORMAT_VERSION, **content}
    text = json.dumps({**whole, "checksum": _digest(whole)}, indent=2, allow_nan=False)
    replace_file(path, text.encode("ascii") + b"\n")


def read_sealed(path: Path, kind: str = "table") -> dict[str, Any]:
    """Read what `write_sealed` wrote.

    Args:
        path: the file.
        kind: what it should be, for the message.

    Raises:
        LoadError: when it is missing, damaged, or written by a newer simlearn.
    """
    content = read_versioned_json(path, kind)
    if content.pop("checksum", None) != _digest(content):
        raise LoadError(f"{path} was changed since it was written; remove its folder, and its objects are encoded anew")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return blake2b(json.dumps(content, sort_keys=True).encode("ascii"), digest_size=8).hexdigest()
