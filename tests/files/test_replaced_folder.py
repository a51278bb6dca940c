"""A folder is replaced whole or not at all, whatever happens to the process that writes it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_servables import snapshot

from simlearn.files import CAN_SHARE, folders, read_json, remove_drafts, remove_folder, replaced_folder, write_json

MARKER = "marker.json"
needs_exchange = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders in one step")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


def save(target: Path | str, content: str = "new", *, also: Callable[[], None] = lambda: None) -> None:
    with replaced_folder(target, MARKER) as draft:
        write_json(draft / MARKER, content)
        (draft / "nested").mkdir()
        write_json(draft / "nested" / "content.json", content)
        also()


def state(target: Path) -> tuple[str, str]:
    assert snapshot(target).keys() == {MARKER, "nested/content.json"}
    return read_json(target / MARKER), read_json(target / "nested" / "content.json")


@pytest.fixture(params=[True, False], ids=["exchange", "two renames"])
def _each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(folders, "_exchange", lambda first, second: False)


@pytest.mark.usefixtures("_each_way")
class TestReplacedFolder:
    def test_new_and_over_an_older_one(self, tmp_path: Path) -> None:
        target = tmp_path / "missing" / "parents" / "target"
        save(target, "old")
        (target / "more.txt").write_text("by hand")
        save(target, "new")
        assert state(target) == ("new", "new")
        assert os.listdir(target.parent) == ["target"]

    def test_over_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "target").mkdir()
        save(tmp_path / "target")
        assert state(tmp_path / "target") == ("new", "new")
        assert os.listdir(tmp_path) == ["target"]

    def test_relative_with_trailing_slash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for content in ("old", "new"):
            save("a/../target/", content)
        assert state(tmp_path / "target") == ("new", "new")

    def test_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "latest").symlink_to(tmp_path / "version")
        for content in ("old", "new"):
            save(tmp_path / "latest", content)
        assert (tmp_path / "latest").is_symlink()
        assert state(tmp_path / "version") == ("new", "new")
        assert sorted(os.listdir(tmp_path)) == ["latest", "version"]

    def test_failure_leaves_the_older_one(self, tmp_path: Path) -> None:
        def fail() -> None:
            raise KeyboardInterrupt

        save(tmp_path / "target", "old")
        for target in ("target", "other"):
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path / target, also=fail)
        assert state(tmp_path / "target") == ("old", "old")
        assert os.listdir(tmp_path) == ["target"]

    def test_permissions_are_those_of_new_folders(self, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        save(tmp_path / "target")
        assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_renaming_fails_halfway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def fail_for_the_draft(source: Any, target: Any) -> None:
        if str(target).endswith("target") and not str(source).endswith(".old"):
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    save(tmp_path / "target", "old")
    monkeypatch.setattr(folders, "_exchange", lambda first, second: False)
    monkeypatch.setattr(os, "rename", fail_for_the_draft)
    with pytest.raises(PermissionError):
        save(tmp_path / "target", "new")
    assert state(tmp_path / "target") == ("old", "old")
    assert os.listdir(tmp_path) == ["target"]


class TestRefusals:
    def test_something_else_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "thesis.txt").write_text("years of work")
        (tmp_path / "file").write_text("more of it")
        before = snapshot(tmp_path)
        for name in ("folder", "file"):
            with pytest.raises(
                FileExistsError, match=rf"{name} exists and is not something simlearn saved .* marker\.json"
            ):
                save(tmp_path / name)
        assert snapshot(tmp_path) == before

    def test_parent_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=r"cannot save to .*target: .*choose a place you may write to"):
            save(tmp_path / "file" / "target")

    def test_parent_is_read_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, *args: Any, **kwargs: Any) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "mkdir", refuse)  # root may write anywhere
        with pytest.raises(
            PermissionError, match=r"cannot save to .*target: .*denied.* choose a place you may write to"
        ):
            save(tmp_path / "target")


def killed_while(action: Callable[[], None]) -> None:
    """Run the action in a process that kills itself with SIGKILL."""
    process = multiprocessing.get_context("fork").Process(target=action)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@needs_exchange
class TestKilled:
    @pytest.mark.parametrize("point", ["writing", "_flush", "_exchange", "after _exchange", "rmtree"])
    def test_old_or_new_one_is_whole_and_the_next_save_cleans_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
    ) -> None:
        target = tmp_path / "target"
        save(target, "old")
        with monkeypatch.context() as patch:
            exchange = folders._exchange
            if point in ("_flush", "_exchange"):
                patch.setattr(folders, point, lambda *args: kill())
            elif point == "after _exchange":
                patch.setattr(folders, "_exchange", lambda first, second: exchange(first, second) and kill())
            elif point == "rmtree":
                patch.setattr(folders.shutil, "rmtree", lambda path, **options: ((path / MARKER).unlink(), kill()))
            killed_while(lambda: save(target, "new", also=kill if point == "writing" else lambda: None))
        expected = "new" if point in ("after _exchange", "rmtree") else "old"
        assert state(target) == (expected, expected)
        assert len(os.listdir(tmp_path)) == 2, "the draft of the killed process"
        save(target, "third")
        assert state(target) == ("third", "third")
        assert os.listdir(tmp_path) == ["target"]

    def test_drafts_of_others_stay(self, tmp_path: Path) -> None:
        (tmp_path / ".target.mine").mkdir()
        (tmp_path / ".other.0123abcd.simlearn-draft").mkdir()
        save(tmp_path / "target")
        assert sorted(os.listdir(tmp_path)) == [".other.0123abcd.simlearn-draft", ".target.mine", "target"]

    def test_draft_of_a_living_process_stays(self, tmp_path: Path) -> None:
        with replaced_folder(tmp_path / "target", MARKER) as draft:
            write_json(draft / MARKER, "first")
            save(tmp_path / "target", "second")
            assert read_json(draft / MARKER) == "first"
            (draft / "nested").mkdir()
            write_json(draft / "nested" / "content.json", "first")
        assert state(tmp_path / "target") == ("first", "first")
        assert os.listdir(tmp_path) == ["target"]


@needs_fork
def test_drafts_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / ".killed.12ab.simlearn-draft").mkdir()
    save(tmp_path / "target", also=lambda: remove_drafts(tmp_path))
    assert os.listdir(tmp_path) == ["target"] and state(tmp_path / "target") == ("new", "new")


def test_a_folder_goes_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "target")
    with monkeypatch.context() as patch:
        patch.setattr(folders.shutil, "rmtree", lambda *arguments, **options: None)  # as if it were killed there
        remove_folder(tmp_path / "target")
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".target.")
    remove_drafts(tmp_path)
    assert os.listdir(tmp_path) == ([] if CAN_SHARE else [left])
    with pytest.raises(FileNotFoundError):
        remove_folder(tmp_path / "target")
