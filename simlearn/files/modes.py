"""What is written may be read by whom the umask lets read it, whichever library wrote it.

The umask itself is never asked for: Python reads it only by setting it, and another thread that makes a file meanwhile
would make it for everybody. What is made under it shows it.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_PERMISSIONS = 0o777
_NOT_RUN = 0o666


def created_mode(path: Path) -> int:
    """Make an empty file, and say with which permissions files are made there.

    Raises:
        OSError: when it exists, or cannot be made.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return os.fstat(descriptor).st_mode & _PERMISSIONS
    finally:
        os.close(descriptor)


def set_mode(path: Path, mode: int) -> None:
    """Give a file or folder these permissions, where it has others; what else its mode says, as setgid, stays."""
    current = path.stat().st_mode
    if current & _PERMISSIONS != mode:  # a disk without permissions refuses even to set those that it shows
        path.chmod((current & 0o7000) | mode)


def apply_umask(folder: str | Path) -> None:
    """Give all files and folders in a folder the permissions with which new ones are made there.

    Libraries that write through temporary files (safetensors) make files of mode 600, which nobody but their writer can
    read: a model saved by root, served by a service's user. Links stay as they are, and what they lead to.

    Raises:
        OSError: when it belongs to another user.
    """
    top = Path(folder)
    probe = top / f".{secrets.token_hex(4)}.mode"
    probe.mkdir()
    try:
        mode = probe.stat().st_mode & _PERMISSIONS
    finally:
        probe.rmdir()
    for parent, folders, files in os.walk(top):  # it does not walk into links
        for name in (*folders, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                set_mode(path, mode & _NOT_RUN if name in files else mode)
