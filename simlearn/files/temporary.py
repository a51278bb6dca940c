"""Temporary folders that several processes use."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from simlearn.files.folders import remove_abandoned
from simlearn.files.locks import CAN_SHARE, is_at, lock_folder

_PREFIX = "simlearn-temporary-"


def temporary_folder() -> Path:
    """An empty folder that other processes may use too, removed when this process ends.

    After a kill the next call, of any process, removes it. It lies where `tempfile` says: set TMPDIR to a folder on a
    disk if that is one in memory. Whatever the umask, only its user may enter it.
    """
    root = Path(tempfile.gettempdir())
    remove_abandoned(root.glob(f"{_PREFIX}*"))
    while True:
        folder = root / f"{_PREFIX}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        if not CAN_SHARE:
            break
        lock = lock_folder(folder)  # never closed: it is held until the process ends
        if lock is not None and is_at(lock, folder):  # else another process took it for abandoned
            break
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child has inherited the duty, not the folder
        shutil.rmtree(folder, ignore_errors=True)
