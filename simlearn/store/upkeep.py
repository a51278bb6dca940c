"""A table's folder is made, checked, rewritten and repaired."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simlearn.files import (
    LOCK_FILE,
    LoadError,
    locked,
    read_sealed,
    replaced_folder,
    unreadable,
    unwritable,
    write_sealed,
)
from simlearn.store.commit import COMMIT_FILE, STORE_FILE, Commit
from simlearn.store.mapped_rows import MappedRows, append_block, whole_rows

_FIRST_FILES = {LOCK_FILE, STORE_FILE, f"{STORE_FILE}.draft", f"{COMMIT_FILE}.draft"}
"""What a process that was killed while it made a table may leave of it."""

_SHORT = 12
"""Characters of an identity in a message."""


def is_table(folder: Path) -> bool:
    """Whether a folder holds a table.

    Raises:
        LoadError: when it may not be looked into.
    """
    try:
        (folder / COMMIT_FILE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(folder / COMMIT_FILE, error) from error
    return True


def make(folder: Path, description: Mapping[str, Any]) -> None:
    """Make a table, unless it is there; then it must have the identity that the description names, if it names one.

    Raises:
        FileExistsError: when the folder holds something else.
        LoadError: when the table has another identity.
        OSError: when it is missing and cannot be made.
    """
    plain = json.loads(json.dumps(dict(description), allow_nan=False))
    if not is_table(folder):
        _make_new(folder, plain)
    if "identity" in plain:
        _check_identity(folder, plain["identity"])


def _make_new(folder: Path, description: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = set(os.listdir(folder))
    except OSError as error:
        existing = next((parent for parent in (folder, *folder.parents) if os.path.isdir(parent)), folder)
        raise unwritable(folder, error, f"make {existing} writable, or choose another folder") from error
    if strange := sorted(there - _FIRST_FILES - {COMMIT_FILE}):
        if is_table(folder):  # another process has come first, and filled it
            return
        raise FileExistsError(
            f"{folder} holds {strange[:3]} and no {COMMIT_FILE}: it is no table of vectors, or what is left of one; "
            "choose another folder, or remove it"
        )
    with locked(folder):
        if is_table(folder):  # another process may have come first
            return
        try:
            write_sealed(folder / STORE_FILE, {"kind": "table of vectors", "description": description})
            Commit(secrets.token_hex(8)).write(folder)
        except OSError as error:
            raise unwritable(folder, error, "make room in it, or choose another folder") from error


def _check_identity(folder: Path, wanted: Any) -> None:
    """Refuse vectors of somebody else: a folder that was renamed or exchanged would serve them under a wrong name."""
    known = read_sealed(folder / STORE_FILE)["description"].get("identity")
    if known != wanted:
        raise LoadError(
            f"{folder} holds what {_short(known, wanted)} made, not {_short(wanted, known)}: it was renamed or "
            "exchanged for another folder; give it back its own name, or remove it, and its objects are encoded anew"
        )


def _short(identity: Any, other: Any) -> str:
    """The beginning of an identity, where it differs from that of another one."""
    if identity is None:
        return "somebody without an identity"
    text, beginning = str(identity), str(identity)[:_SHORT]
    return text if beginning == str(other)[:_SHORT] or len(text) <= _SHORT else f"{beginning}…"


def damaged_rows(mapped: MappedRows) -> NDArray[np.int64]:
    """The rows, ascending, that are not what was written; all of them are read."""
    found = [rows[mapped.damaged(rows)] for rows in mapped.chunks()]
    return np.concatenate([np.empty(0, np.int64), *found])


def rewrite(folder: Path, mapped: MappedRows, keep: NDArray[np.bool_]) -> None:
    """Put a folder of the kept rows in the place of a locked one.

    Each row is checked on the way: its checksum is computed anew, which would make a damaged row a valid one.
    """
    with replaced_folder(folder, STORE_FILE) as draft:
        shutil.copy2(folder / STORE_FILE, draft / STORE_FILE)  # with its time, which says when it was last used
        commit = Commit(secrets.token_hex(8))
        commit.write(draft)
        for rows in mapped.chunks():
            kept = rows[keep[rows]]
            kept = kept[~mapped.damaged(kept)]
            if len(kept) and mapped.commit.layout is not None:
                commit = append_block(draft, commit, mapped.block(kept), mapped.commit.layout)


def inspect(folder: Path) -> tuple[Commit, int]:
    """What a table has, without opening it for use: its commit, and how many of the rows are not what was written.

    Raises:
        LoadError: when `commit.json` or `store.json` itself is damaged, or the table was written by a newer simlearn.
    """
    while True:
        read_sealed(folder / STORE_FILE)
        commit = Commit.read(folder)
        whole = MappedRows(folder, whole_rows(folder, commit), at_random=False)
        lost = commit.rows - whole.commit.rows + len(damaged_rows(whole))
        if Commit.read(folder).generation == commit.generation:  # else it was rewritten in the meantime
            return commit, lost


def repair(folder: Path) -> int:
    """Drop the rows that are not what was written, also where files were cut short; see `DiskTable.repair`."""
    Commit.read(folder)  # before the lock, which would make its file in any folder
    with locked(folder):
        commit = Commit.read(folder)
        whole = MappedRows(folder, whole_rows(folder, commit), at_random=False)
        lost = commit.rows - whole.commit.rows + len(damaged_rows(whole))
        if lost:
            rewrite(folder, whole, np.ones(whole.commit.rows, bool))
    return lost
