"""Sealed JSON knows whether it was changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from simlearn.files import LoadError, read_sealed, write_sealed

CONTENT = {"rows": 3, "names": ["größe", "b"], "nested": {"a": None, "b": 1.5}}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for content in ({}, CONTENT):
        write_sealed(tmp_path / "a.json", content)
        assert read_sealed(tmp_path / "a.json") == {"format_version": 1, **content}
    assert os.listdir(tmp_path) == ["a.json"]


def test_files_of_before_are_read(tmp_path: Path) -> None:
    text = '{\n  "format_version": 1,\n  "rows": 3,\n  "checksum": "0bb76f39e5ae66b9"\n}\n'
    (tmp_path / "a.json").write_text(text)
    assert read_sealed(tmp_path / "a.json") == {"format_version": 1, "rows": 3}
    write_sealed(tmp_path / "b.json", {"rows": 3})
    assert (tmp_path / "b.json").read_text() == text


def test_every_changed_value_is_found(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", CONTENT)
    whole = json.loads((tmp_path / "a.json").read_text())
    changes = [{"rows": 4}, {"rows": 3.0}, {"names": ["b", "größe"]}, {"more": 1}, {"checksum": "0" * 16}]
    for change in changes:
        (tmp_path / "a.json").write_text(json.dumps({**whole, **change}))
        with pytest.raises(LoadError, match=r"a\.json was changed since it was written; remove its folder"):
            read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_text(json.dumps(whole, indent=1))
    assert read_sealed(tmp_path / "a.json") == {"format_version": 1, **CONTENT}, "blanks are no change"


def test_what_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"a\.json is missing"):
        read_sealed(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(LoadError, match=r"a\.json is no order of simlearn"):
        read_sealed(tmp_path / "a.json", "order")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_sealed(tmp_path / "a.json", {"a": float("nan")})
    assert (tmp_path / "a.json").read_text() == "{}"
