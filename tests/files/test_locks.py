"""Locks keep other processes waiting, and end with theirs."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import forked, until
from users import as_another_user, reachable_folder

from simlearn.files import CAN_SHARE, InUse, locked, nobody_uses, replaced_folder
from simlearn.files.locks import held, lock_folder

pytestmark = pytest.mark.skipif(not CAN_SHARE or sys.platform == "win32", reason="this system has no flock, or no fork")


def test_two_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count() -> None:
        for _ in range(200):
            with locked(tmp_path):
                counter.write_text(str(int(counter.read_text()) + 1))

    children = [forked(count), forked(count)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert counter.read_text() == "400"


def test_a_killed_process_leaves_nothing_locked(tmp_path: Path) -> None:
    def hold() -> None:
        with locked(tmp_path), held(lock_folder(tmp_path)):
            (tmp_path / "holds").touch()
            signal.pause()

    child = forked(hold)
    until((tmp_path / "holds").exists)
    assert lock_folder(tmp_path) is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locked(tmp_path), held(lock_folder(tmp_path)):
        assert lock_folder(tmp_path) is None, "it is held now, by this process"
    lock = lock_folder(tmp_path)
    assert lock is not None
    os.close(lock)


def test_who_waited_for_a_folder_that_was_replaced_locks_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def wait() -> None:
        until((tmp_path / "is locked").exists)
        (tmp_path / "waits").touch()
        with locked(folder):
            assert (folder / "new").exists()
            (folder / "locked").touch()

    child = forked(wait)  # before the lock, which a child would share
    with locked(folder):
        (tmp_path / "is locked").touch()
        until((tmp_path / "waits").exists)
        time.sleep(0.1)
        with replaced_folder(folder, "lock") as draft:
            (draft / "new").touch()
            (draft / "lock").touch()
        assert not (folder / "locked").exists()
    assert os.waitpid(child, 0)[1] == 0
    assert (folder / "locked").exists()


def test_in_use_as_long_as_somebody_holds_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (0, 0))
    first, second = InUse(tmp_path / "file"), InUse(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mtime > 0, "when it was last used"
    del first
    with nobody_uses(tmp_path / "file") as free:
        assert not free
    del second
    with nobody_uses(tmp_path / "file") as free:
        assert free


def test_what_cannot_be_locked_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=rf"cannot write to {tmp_path}/missing: No such file"),
        locked(tmp_path / "missing"),
    ):
        pass
    assert lock_folder(tmp_path / "missing") is None
    with reachable_folder() as folder:

        def lock() -> None:
            message = f"cannot write to {folder}: Permission denied; make it writable, or choose another folder"
            with pytest.raises(PermissionError, match=message), locked(folder):
                pass

        as_another_user(lock)
