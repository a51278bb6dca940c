"""Locks between processes: each ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from simlearn.files.errors import unwritable

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

CAN_SHARE = fcntl is not None
"""Whether processes can lock anything here; where not, only one may write to a folder."""

LOCK_FILE = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all other processes that would change what is in a folder waiting, by a file in it.

    A folder may be exchanged for another one meanwhile: what is locked is the one that is there when the wait ends.

    Raises:
        OSError: when the folder is gone, may not be written to, or lies where files cannot be locked.
    """
    if fcntl is None:
        yield
        return
    descriptor = _locked_file(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked_file(folder: Path) -> int:
    while True:
        try:
            descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritable(folder, error, "make it writable, or choose another folder") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_at(descriptor, folder / LOCK_FILE):  # else the folder was exchanged for another while this waited
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, f"cannot lock {folder}: {error.strerror}; keep it on a local disk") from error
        os.close(descriptor)


def lock_folder(folder: Path, *, wait: bool = False) -> int | None:
    """Lock a folder itself, without a file in it, until the number that comes back is closed; see `held`.

    Returns:
        None when it is locked already, or cannot be.
    """
    if fcntl is None:
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def held(lock: int | None) -> Iterator[None]:
    """Keep a lock of `lock_folder` until the block ends."""
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder is the one at a path, and not one that was there before."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


class InUse:
    """Tells other processes that what a file describes is in use, as long as this object lives; see `nobody_uses`.

    The file's time says when it was last opened so.

    Args:
        path: the file; it is not changed.

    Raises:
        FileNotFoundError: when it is gone.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        with suppress(OSError):  # a disk that is only read has neither times nor, perhaps, locks
            os.utime(path)
        with suppress(OSError):
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextmanager
def nobody_uses(path: Path) -> Iterator[bool]:
    """Whether no process holds the file `InUse`; none can begin to until the block ends. Windows cannot tell.

    Raises:
        FileNotFoundError: when it is gone.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        free = True
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(descriptor)
