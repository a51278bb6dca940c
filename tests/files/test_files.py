"""JSON is strict, and names are no paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn.files import FORMAT_VERSION, LoadError, check_name, read_json, read_versioned_json, write_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class TestJson:
    @given(JSON)
    def test_what_is_written_is_read(self, tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
        file = tmp_path_factory.getbasetemp() / "content.json"
        write_json(file, content)
        assert read_json(file) == content
        assert json.loads(file.read_text(encoding="utf-8")) == content

    def test_half_a_surrogate_pair_too(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"größe": "\ud800"})
        assert read_json(tmp_path / "a.json") == {"größe": "\ud800"}

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
        write_json(tmp_path / "a.json", {"format_version": FORMAT_VERSION + 1})
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
