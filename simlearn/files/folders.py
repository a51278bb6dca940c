"""Folders that are replaced in one step."""

from __future__ import annotations

import ctypes
import glob
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simlearn.files.locks import held, lock_folder
from simlearn.files.modes import apply_umask
from simlearn.files.writing import sync

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
        with held(lock_folder(target.parent, wait=True)):
            if not target.exists():
                os.rename(draft, target)
            elif not _exchange(draft, target):
                _rename_both(draft, target)
        sync(target.parent)


@contextmanager
def _draft_for(target: Path) -> Iterator[Path]:
    """An empty folder beside the target, removed afterwards whatever is in it, and locked meanwhile.

    The lock ends with the process: it tells a draft that is being written from one of a process that was killed.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_DRAFT}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # One process at a time: nobody sees a new draft before it is locked, whenever its process is killed.
        with held(lock_folder(target.parent, wait=True)):
            remove_abandoned(target.parent.glob(f".{glob.escape(target.name)}.*{_DRAFT}"))
            draft.mkdir()
            lock = lock_folder(draft)
    except OSError as error:
        raise type(error)(f"cannot save to {target}: {error}; choose a place you may write to") from error
    with held(lock):
        try:
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def remove_abandoned(folders: Iterable[Path]) -> None:
    """Remove those folders that no process has locked any more (on Windows, none)."""
    for folder in folders:
        if (lock := lock_folder(folder)) is not None:
            with held(lock):
                shutil.rmtree(folder, ignore_errors=True)


def remove_drafts(folder: str | Path) -> None:
    """Remove the drafts of killed processes from a folder (not on Windows); those being written now stay."""
    parent = Path(folder).resolve()  # a link cannot be locked
    with held(lock_folder(parent, wait=True)):  # as for a new draft: it is locked before anybody sees it
        remove_abandoned(parent.glob(f".*{_DRAFT}"))


def remove_folder(path: str | Path) -> None:
    """Remove a folder so that nobody ever finds half of it: what a kill leaves of it is a hidden draft.

    Raises:
        OSError: when it is gone, or may not be removed.
    """
    target = Path(path)
    doomed = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_DRAFT}")
    os.rename(target, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Onto the disk before the folder gets its name, or a power cut could leave a servable of empty files."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


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
