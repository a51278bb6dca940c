"""Bytes are written where they should be, and a file is replaced in one step."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from simlearn.files import replace_file, sync, write_at


def test_at_a_place(tmp_path: Path) -> None:
    write_at(tmp_path / "file", 3, b"abc")
    assert (tmp_path / "file").read_bytes() == b"\0\0\0abc"
    write_at(tmp_path / "file", 1, memoryview(b"xyz"))
    assert (tmp_path / "file").read_bytes() == b"\0xyzbc"
    large = os.urandom(200_000)
    write_at(tmp_path / "file", 0, large)
    write_at(tmp_path / "file", 5, b"")
    assert (tmp_path / "file").read_bytes() == large


@pytest.mark.skipif(sys.platform == "win32", reason="has no modes")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077], ids=oct)
def test_the_umask_says_who_may_read_it(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_at(tmp_path / "first", 0, b"a")
        replace_file(tmp_path / "second", b"b")
    finally:
        os.umask(before)
    for name in ("first", "second"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_replacing_leaves_no_draft_and_never_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file.draft").write_bytes(b"what a killed process left, longer than what is written now")
    for content in (b"old", b"new", b""):
        replace_file(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
        assert os.listdir(tmp_path) == ["file"]

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    replace_file(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_files_and_folders_are_synced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a")
    sync(tmp_path / "file")
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")
