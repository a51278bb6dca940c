"""Versioned JSON, names that may become folders, and folders that are replaced in one step."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simlearn.persistence.errors import LoadError

FORMAT_VERSION = 1


def write_json(path: str | Path, content: Any) -> None:
    """Write readable JSON; raises TypeError for what JSON cannot hold."""
    Path(path).write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON; a missing or damaged file raises LoadError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"{path} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise LoadError(f"{path} is not JSON: {error}") from None


def read_versioned_json(path: str | Path, kind: str) -> dict[str, Any]:
    """Read a JSON object with a `format_version` that this simlearn understands."""
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise LoadError(f"{path} is no {kind} of simlearn: it has no format_version")
    if version > FORMAT_VERSION:
        raise LoadError(
            f"{path} has format version {version}, this simlearn reads up to {FORMAT_VERSION}; upgrade simlearn to load it"
        )
    return dict(content)


def check_name(name: str, what: str) -> str:
    """A name that may become a folder: no path in it.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_\- ]*", name):
        raise ValueError(f"{what} must be made of letters, digits, '_', '-' and spaces, got {name!r}")
    return name


@contextmanager
def replaced_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends well, and is removed when it fails.

    An older folder is replaced only when it holds the file `marker`, and in one step where the system can exchange two
    folders (Linux): a reader finds the old one or the new one, whole.

    Raises:
        FileExistsError: when `path` exists, is not empty and lacks the marker.
    """
    target = Path(path).absolute()
    if target.exists() and not (target / marker).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(
            f"{path} exists and is not something simlearn saved here (it has no {marker}); choose another path or remove it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        draft.chmod(0o755)
        yield draft
        _flush(draft)
        if not target.exists():
            os.replace(draft, target)
        elif not _exchange(draft, target):
            retired = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            os.replace(target, retired)
            os.replace(draft, target)
            shutil.rmtree(retired)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Onto the disk before the folder gets its name, or a power cut could leave a servable of empty files."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)
