"""Folders that are replaced in one step."""

from __future__ import annotations

import ctypes
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simlearn.files.modes import apply_umask

try:
    import fcntl
except ImportError:  # Windows: drafts of killed processes stay there
    fcntl = None  # type: ignore[assignment]

_DRAFT = ".simlearn-draft"


@contextmanager
def replaced_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends well, and is removed when it fails.

    An older folder is replaced only when it holds the file `marker`, and in one step where the system can exchange two
    folders (Linux): a reader finds the old one or the new one, whole. A killed process leaves a hidden draft beside it,
    which the next save removes (not on Windows).

    Raises:
        FileExistsError: when `path` exists, is not empty and lacks the marker.
        OSError: when nothing can be written beside it, saying so.
    """
    target = Path(path).resolve()  # the folder itself where `path` is a link to it
    if target.exists() and not (target / marker).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(
            f"{path} exists and is not something simlearn saved here (it has no {marker}); choose another path or "
            "remove it"
        )
    with _draft_for(target) as draft:
        yield draft
        apply_umask(draft)
        _flush(draft)
        # One process at a time: of two that save for the first time, the second finds the first one's folder.
        with _held(_lock(target.parent, wait=True)):
            if not target.exists():
                os.rename(draft, target)
            elif not _exchange(draft, target):
                _rename_both(draft, target)
        _sync(target.parent)


@contextmanager
def _draft_for(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, removed afterwards whatever is in it, and locked meanwhile.

    The lock ends with the process: it tells a draft that is being written from one of a process that was killed.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_DRAFT}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: nobody sees a new draft before it is locked, whenever its process is killed.
        with _held(_lock(target.parent, wait=True)):
            _remove_abandoned(target.parent, glob.escape(target.name))
            draft.mkdir()
            lock = _lock(draft)
    except OSError as error:
        raise type(error)(f"cannot save to {target}: {error}; choose a place you may write to") from error
    with _held(lock):
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _remove_abandoned(folder: Path, name: str) -> None:
    for old in folder.glob(f".{name}.*{_DRAFT}"):
        if (lock := _lock(old)) is not None:
            with _held(lock):
                shutil.rmtree(old, ignore_errors=True)


def remove_drafts(folder: str | Path) -> None:
    """Remove the drafts of killed processes from a folder (not on Windows); those being written now stay."""
    with _held(_lock(Path(folder), wait=True)):  # as for a new draft: it is locked before anybody sees it
        _remove_abandoned(Path(folder), "*")


def remove_folder(path: str | Path) -> None:
    """Remove a folder so that nobody ever finds half of it: what a kill leaves of it is a hidden draft.

    Raises:
        OSError: when it is gone, or may not be removed.
    """
    target = Path(path)
    doomed = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_DRAFT}")
    os.rename(target, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


@contextmanager
def _held(lock: int | None) -> Iterator[None]:
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, wait: bool = False) -> int | None:
    """Lock a folder until the number that comes back is closed; None when it is locked already, or cannot be."""
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


def _flush(folder: Path) -> None:
    """Onto the disk before the folder gets its name, or a power cut could leave a servable of empty files."""
    for path in [*folder.rglob("*"), folder]:
        _sync(path)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def _rename_both(draft: Path, target: Path) -> None:
    """Put the draft in the target's place in two steps; the target comes back when the second fails."""
    retired = draft.with_name(draft.name.removesuffix(_DRAFT) + ".old")
    os.rename(target, retired)
    try:
        os.rename(draft, target)
    except OSError:
        os.rename(retired, target)
        raise
    shutil.rmtree(retired, ignore_errors=True)
