"""What a table does to a disk: write at a place, make it last, replace a file in one step, map it, lock a folder."""

from __future__ import annotations

import atexit
import mmap
import os
import secrets
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.files import LoadError

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None  # type: ignore[assignment]

CAN_SHARE = fcntl is not None
"""Whether several processes may append to one table; where not, a table must have one writer."""

LOCK_FILE = "lock"

_WRITE_BYTES = 1 << 16
"""At once. Linux caches a file in pieces as large as it was written in, up to 2 MiB, and whoever maps the file and
looks at a single vector gets the whole piece: the 1,024 rows of a first batch would grow its memory by 1.1 GB.
"""


def write_at(path: Path, offset: int, data: NDArray[Any]) -> None:
    """Write all of an array at a place of a file, over whatever is there, and wait until the disk has it."""
    left = np.ascontiguousarray(data).reshape(-1).view(np.uint8).data
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        while left:
            left = left[os.write(descriptor, left[:_WRITE_BYTES]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Give a file new content in one step: a reader, and whoever comes after a kill, finds the old or the new."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    write_at(draft, 0, np.frombuffer(content, np.uint8))
    os.replace(draft, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def map_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], *, at_random: bool = False) -> NDArray[Any]:
    """The beginning of a file as an array that cannot be written to.

    Args:
        path: the file; it may be longer.
        dtype: of its numbers.
        shape: how many there are.
        at_random: tell the system not to read ahead.

    Raises:
        LoadError: when the file is missing or shorter.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if not size:  # no system maps nothing
        return np.empty(shape, dtype)
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise LoadError(f"{path} is missing; {CURE}") from None
    except ValueError:
        raise LoadError(f"{path} has {path.stat().st_size} bytes, {size} were committed; {CURE}") from None
    if at_random and hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype).reshape(shape)


CURE = "simlearn.cache.verify(path, repair=True) keeps the rows that are whole, the others are encoded again"


def tensor_over(array: NDArray[Any]) -> Tensor:
    """A tensor over the memory of an array. It must only be read: the memory may be protected."""
    with warnings.catch_warnings():
        # A private writable mapping would not warn, but the system may refuse one that is larger than its memory.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(array)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep all other processes that would change the folder waiting. The lock ends with the process, however it ends.

    Raises:
        OSError: when the folder is gone, or lies where files cannot be locked.
    """
    if fcntl is None:
        yield
        return
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    while True:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, folder / LOCK_FILE):  # else the folder was exchanged for another while this waited
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, f"cannot lock {folder}: {error.strerror}; keep it on a local disk") from error
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
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


_TEMPORARY = "simlearn-temporary-"


def temporary_folder() -> Path:
    """An empty folder that other processes may use too, removed when this process ends.

    After a kill the next call, of any process, removes it. It lies where `tempfile` says: set TMPDIR to a folder on a
    disk if that is one in memory.
    """
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{_TEMPORARY}*"):
        with suppress(OSError):  # another user's
            _remove_abandoned(old)
    while True:
        folder = root / f"{_TEMPORARY}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        if fcntl is None:
            break
        with suppress(OSError):  # another process took it for abandoned before it was locked
            descriptor = os.open(folder, os.O_RDONLY)  # open, and locked, until the process ends
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, folder):
                break
    atexit.register(_remove_own, folder, os.getpid())
    return folder


def _remove_abandoned(folder: Path) -> None:
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child has inherited the duty, not the folder
        shutil.rmtree(folder, ignore_errors=True)
