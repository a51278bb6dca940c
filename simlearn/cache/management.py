"""What a folder of caches holds is listed, measured, verified and pruned.

A folder, such as the `save_dir` of a `CacheConfig`, holds tables of vectors, one for each encoder; folders that
`encode_to_disk` filled; and, in `datasets`, the rows of data sets of a known version. All of them may be removed at any
time: what is needed again is computed again.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from simlearn.cache.saved_rows import DATASETS, SavedRows
from simlearn.files import LoadError, nobody_uses, read_sealed, remove_drafts, remove_folder
from simlearn.models.encoded_objects import ORDER, TABLE, read_order
from simlearn.store import upkeep
from simlearn.store.commit import COMMIT_FILE, STORE_FILE, Commit

_ENCODED = "encoded objects"
_DATA_SET = "rows of a data set"
_DAY = 86_400.0
_DRAFT_SECONDS = 3600.0
"""A draft of a data set that is older was left by a process that was killed."""


@dataclass(frozen=True)
class CacheEntry:
    """Something that a folder of caches holds.

    Args:
        name: its path in the folder; the folder's own name where that is the entry.
        path: where it is.
        kind: `"vectors"`, `"encoded objects"` or `"rows of a data set"`.
        size: bytes.
        last_used: when it was last opened or added to, in UTC.
        rows: of vectors; None where there are none, or nobody can tell.
        layout: of a row, in words; None likewise.
        description: who computed the vectors, as its `store.json` says.
        problem: why it cannot be read; None when it can. `verify` looks deeper.
    """

    name: str
    path: Path
    kind: str
    size: int
    last_used: datetime
    rows: int | None = None
    layout: str | None = None
    description: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def table(self) -> Path | None:
        """The folder of its vectors; None where there are none."""
        if self.kind == _DATA_SET:
            return None
        return self.path / TABLE if self.kind == _ENCODED else self.path


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    Args:
        entry: what was read.
        damaged: rows that are not what was written.
        repaired: whether they were dropped.
        problem: what else is wrong, and what helps; None for nothing.
    """

    entry: CacheEntry
    damaged: int = 0
    repaired: bool = False
    problem: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether everything in it can be read now."""
        return self.problem is None and (self.repaired or not self.damaged)


@dataclass(frozen=True)
class Pruned:
    """What `prune` did.

    Args:
        removed: what is gone; with `dry_run`, what would be.
        in_use: what should have gone and stays, because a process has it open.
    """

    removed: tuple[CacheEntry, ...]
    in_use: tuple[CacheEntry, ...]


def list_entries(path: str | Path) -> list[CacheEntry]:
    """What a folder of caches holds, by name. Nothing is opened for use, so nothing counts as used.

    Args:
        path: the folder, or a table or a folder of encoded objects itself.

    Raises:
        FileNotFoundError: when there is no such folder.
    """
    folder = Path(path).absolute()
    if not folder.is_dir():
        raise FileNotFoundError(f"{path} is no folder; pass the save_dir of a CacheConfig, or a folder within it")
    if _kind(folder) is not None:
        return [_entry(folder, folder.name)]
    found = [inner for inner in folder.iterdir() if not inner.name.startswith(".") and not inner.is_symlink()]
    entries = [_entry(inner, inner.name) for inner in found if _kind(inner) is not None]
    entries += [_entry(file, f"{DATASETS}/{file.name}") for file in (folder / DATASETS).glob("*.safetensors")]
    return sorted(entries, key=lambda entry: entry.name)


def size(path: str | Path) -> int:
    """Bytes of all that a folder of caches holds.

    Raises:
        FileNotFoundError: when there is no such folder.
    """
    return sum(entry.size for entry in list_entries(path))


def verify(path: str | Path, repair: bool = False) -> list[Verified]:
    """Read every row of a folder of caches, and compare it with its checksum.

    Args:
        path: the folder, or a table or a folder of encoded objects itself.
        repair: drop what is not what was written; it is computed again when it is next needed. A process that has a
            table open meanwhile stops at the next rows that it asks for.

    Returns:
        One for each entry, by name.

    Raises:
        FileNotFoundError: when there is no such folder.
        OSError: when the disk has no room for a repair; everything is as before.
    """
    return [_verified(entry, repair) for entry in list_entries(path)]


def prune(
    path: str | Path,
    *,
    names: Collection[str] = (),
    unused_days: float | None = None,
    max_size: int | None = None,
    keep: Collection[str] = (),
    dry_run: bool = False,
) -> Pruned:
    """Remove what nobody needs any more, whole entries at a time; never what a process has open (Windows cannot tell).

    What killed processes left behind goes too.

    Args:
        path: the folder.
        names: of entries to remove.
        unused_days: remove what was last used longer ago.
        max_size: then remove the least recently used, until so many bytes are left.
        keep: names of entries to keep in any case.
        dry_run: only say what would be removed.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: without anything that says what to remove, or for a name that no entry has.
    """
    if not names and unused_days is None and max_size is None:
        raise ValueError("say what to prune: names, unused_days or max_size")
    entries = list_entries(path)
    if unknown := sorted({*names, *keep} - {entry.name for entry in entries}):
        raise ValueError(f"{path} holds no {unknown}, only {[entry.name for entry in entries]}")
    oldest_first = sorted((one for one in entries if one.name not in keep), key=lambda entry: entry.last_used)
    removed: list[CacheEntry] = []
    in_use: list[CacheEntry] = []

    def remove(entry: CacheEntry) -> None:
        (removed if _remove(entry, dry_run) else in_use).append(entry)

    for entry in oldest_first:
        days = (time.time() - entry.last_used.timestamp()) / _DAY
        if entry.name in names or (unused_days is not None and days > unused_days):
            remove(entry)
    for entry in oldest_first:
        left = sum(one.size for one in entries) - sum(one.size for one in removed)
        if max_size is not None and left > max_size and entry not in removed + in_use:
            remove(entry)
    if not dry_run:
        _tidy(Path(path).absolute())
    return Pruned(tuple(removed), tuple(in_use))


def _kind(path: Path) -> str | None:
    if _is_table(path):
        return "vectors"
    return _ENCODED if _is_table(path / TABLE) else None


def _is_table(path: Path) -> bool:
    return all((path / name).is_file() for name in (STORE_FILE, COMMIT_FILE))


def _entry(path: Path, name: str) -> CacheEntry:
    files = [file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    kind = _kind(path) or _DATA_SET
    table = path / TABLE if kind == _ENCODED else path
    times = [file.stat().st_mtime for file in files if kind == _DATA_SET or file.name in (STORE_FILE, COMMIT_FILE)]
    used = datetime.fromtimestamp(max(times, default=0.0), timezone.utc)
    entry = CacheEntry(name, path, kind, sum(file.stat().st_size for file in files), used)
    if kind == _DATA_SET:
        return entry
    try:
        description = read_sealed(table / STORE_FILE)["description"]
        commit = Commit.read(table)
    except LoadError as error:
        return replace(entry, problem=f"{error}")
    layout = None if commit.layout is None else commit.layout.kind()
    return replace(entry, rows=commit.rows, layout=layout, description=description)


def _verified(entry: CacheEntry, repair: bool) -> Verified:
    if entry.table is None:
        try:
            if SavedRows(entry.path).read() is not None:
                return Verified(entry)
        except LoadError as error:
            return Verified(entry, problem=str(error))
        if repair:
            entry.path.unlink(missing_ok=True)
            return Verified(entry, 1, repaired=True)
        return Verified(entry, problem="it is damaged, so it is not used; repair removes it")
    damaged, repaired = 0, False
    try:
        _, damaged = upkeep.inspect(entry.table)
        if repair and damaged:
            upkeep.repair(entry.table)
            repaired = True
        if entry.kind == _ENCODED and (entry.path / ORDER).exists():  # else it was never encoded to the end
            read_order(entry.path, Commit.read(entry.table).generation)
    except LoadError as error:
        return Verified(entry, damaged, repaired, str(error))
    return Verified(entry, damaged, repaired)


def _remove(entry: CacheEntry, dry_run: bool) -> bool:
    """Remove an entry; False when it is in use."""
    with ExitStack() as stack:
        marker = None if entry.table is None else entry.table / STORE_FILE
        if marker is not None and marker.is_file() and not stack.enter_context(nobody_uses(marker)):
            return False
        if dry_run:
            return True
        if entry.path.is_dir():
            remove_folder(entry.path)
        else:
            entry.path.unlink(missing_ok=True)
    return True


def _tidy(folder: Path) -> None:
    """Remove what killed processes left behind."""
    if folder.is_dir():
        remove_drafts(folder)
    for draft in (folder / DATASETS).glob("*.draft"):
        if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
            draft.unlink(missing_ok=True)
