"""JSON is strict, names are no paths, and a folder is replaced whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_servables import snapshot

from simlearn.persistence import (
    LoadError,
    check_name,
    files,
    read_json,
    read_versioned_json,
    replaced_folder,
    write_json,
)

MARKER = "marker.json"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
needs_exchange = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders in one step")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


class TestJson:
    @given(JSON)
    def test_what_is_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
        file = tmp_path_factory.getbasetemp() / "content.json"
        write_json(file, content)
        assert read_json(file) == content
        assert json.loads(file.read_text(encoding="utf-8")) == content

    @pytest.mark.parametrize("content", [float("nan"), [float("inf")], {"a": -float("inf")}])
    def test_only_finite_numbers_are_written(self, tmp_path: Path, content: Any) -> None:
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "a.json", content)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"{'a': 1}",
            b"NaN",
            b"[Infinity]",
            b'{"a": -Infinity}',
            b"[1e999]",
            b"[-1e999]",
            b"9" * 5000,
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"\xff\xfe",
            b'"\xe9"',
            '{"a": 1}'.encode("utf-16"),
            b"\xef\xbb\xbf{}",
            b"\x80\x04N.",
            b"{} {}",
        ],
    )
    def test_what_is_no_json_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "a.json"
        file.write_bytes(content)
        with pytest.raises(LoadError, match=r"a\.json is not JSON"):
            read_json(file)

    def test_missing_or_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match=r"a\.json is missing"):
            read_json(tmp_path / "a.json")
        (tmp_path / "b.json").mkdir()
        with pytest.raises(LoadError, match=r"b\.json cannot be read"):
            read_json(tmp_path / "b.json")


class TestVersion:
    @pytest.mark.parametrize("content", [{}, [], [1], "text", 1, None, {"version": 1}])
    def test_absent(self, tmp_path: Path, content: Any) -> None:
        write_json(tmp_path / "a.json", content)
        with pytest.raises(LoadError, match=r"a\.json is no cache of simlearn: it has no format_version"):
            read_versioned_json(tmp_path / "a.json", "cache")

    @pytest.mark.parametrize("version", [True, False, "1", 1.0, None, [1], {"a": 1}, 0, -1])
    def test_no_version(self, tmp_path: Path, version: Any) -> None:
        write_json(tmp_path / "a.json", {"format_version": version})
        with pytest.raises(LoadError, match=r"its format_version is .*, not 1 or higher"):
            read_versioned_json(tmp_path / "a.json", "cache")

    def test_newer(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"format_version": files.FORMAT_VERSION + 1})
        with pytest.raises(LoadError, match="reads up to 1; upgrade simlearn"):
            read_versioned_json(tmp_path / "a.json", "cache")

    def test_known(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"format_version": 1, "a": 2})
        assert read_versioned_json(tmp_path / "a.json", "cache") == {"format_version": 1, "a": 2}


class TestNames:
    @pytest.mark.parametrize("name", ["a", "A_b-c 1", "0", "title", "_"])
    def test_good(self, name: str) -> None:
        assert check_name(name, "encoder name") == name

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../a", "a/b", "a\\b", "a.b", "a\n", " a", "-a", "größe", "a\0", "C:", "a" + "\u2215", 1, None],
    )
    def test_bad(self, name: Any) -> None:
        with pytest.raises(ValueError, match="encoder name must be made of"):
            check_name(name, "encoder name")

    @given(st.text())
    def test_a_name_stays_in_its_folder(self, name: str) -> None:
        try:
            check_name(name, "name")
        except ValueError:
            return
        assert (Path("/folder") / name).resolve().parent == Path("/folder")


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
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)


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
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
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
            exchange = files._exchange
            if point in ("_flush", "_exchange"):
                patch.setattr(files, point, lambda *args: kill())
            elif point == "after _exchange":
                patch.setattr(files, "_exchange", lambda first, second: exchange(first, second) and kill())
            elif point == "rmtree":
                patch.setattr(files.shutil, "rmtree", lambda path, **options: ((path / MARKER).unlink(), kill()))
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
