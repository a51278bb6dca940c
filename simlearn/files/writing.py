"""Writing that lasts: at a place of a file, or a whole file in one step."""

from __future__ import annotations

import os
from pathlib import Path

_WRITE_BYTES = 1 << 16
"""At once. Linux caches a file in pieces as large as it was written in, up to 2 MiB, and whoever maps the file and
looks at a single vector gets the whole piece: the 1,024 rows of a first batch would grow its memory by 1.1 GB.
"""


def write_at(path: Path, offset: int, data: bytes | memoryview) -> None:
    """Write all of the bytes at a place of a file, over whatever is there, and wait until the disk has them."""
    left = memoryview(data)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        while left:
            left = left[os.write(descriptor, left[:_WRITE_BYTES]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content in one step: a reader, and whoever comes after a kill, finds the old or the new.

    One process at a time: the draft has one name, so that whoever comes after a kill writes over it.
    """
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    write_at(draft, 0, content)
    os.replace(draft, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has what a file holds; of a folder, the names in it."""
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
