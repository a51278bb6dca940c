"""A table serves only whom it was filled by, whatever its folder is called; the rest is in test_disk_table.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.files import LoadError
from simlearn.store import DiskTable

FIRST, SECOND = "0" * 32, "1" * 32
KEY = [bytes(16)]


def table(path: Path, identity: Any, value: float = 1.0) -> DiskTable:
    made = DiskTable(path, description={"encoder": "text", "identity": identity})
    made.append(KEY, Embeddings(torch.full((1, 2), value)), {})
    made.flush()
    return made


def test_folders_that_change_names_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "first", FIRST, 1.0)
    table(tmp_path / "second", SECOND, 2.0)
    os.rename(tmp_path / "first", tmp_path / "meanwhile")
    os.rename(tmp_path / "second", tmp_path / "first")
    os.rename(tmp_path / "meanwhile", tmp_path / "second")
    for name, wanted, known in (("first", FIRST, SECOND), ("second", SECOND, FIRST)):
        message = rf"{tmp_path}/{name} holds what {known[:12]}… made, not {wanted[:12]}…: .*give it back its own name"
        with pytest.raises(LoadError, match=message):
            DiskTable(tmp_path / name, description={"identity": wanted})
        assert DiskTable(tmp_path / name, description={"encoder": "text"}).description["identity"] == known
        assert len(DiskTable(tmp_path / name)) == 1


def test_the_same_identity_is_served(tmp_path: Path) -> None:
    table(tmp_path / "table", FIRST)
    again = DiskTable(tmp_path / "table", description={"encoder": "renamed", "identity": FIRST})
    assert again.take(again.rows(KEY), "cpu")[0].values.tolist() == [[1.0, 1.0]]
    assert table(tmp_path / "list", (1, 2)).description == DiskTable(tmp_path / "list").description
    assert len(DiskTable(tmp_path / "list", description={"identity": (1, 2)})) == 1, "JSON has lists only"


def test_identities_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    table(tmp_path / "table", f"{FIRST}-float16")
    with pytest.raises(LoadError, match=f"holds what {FIRST}-float16 made, not {FIRST}-bfloat16: "):
        DiskTable(tmp_path / "table", description={"identity": f"{FIRST}-bfloat16"})


def test_a_table_without_an_identity_is_nobodys(tmp_path: Path) -> None:
    DiskTable(tmp_path / "table", description={"encoder": "text"})
    with pytest.raises(LoadError, match=f"holds what somebody without an identity made, not {FIRST[:12]}"):
        DiskTable(tmp_path / "table", description={"identity": FIRST})


def test_rewriting_keeps_the_identity(tmp_path: Path) -> None:
    table(tmp_path / "table", FIRST).rewrite(torch.tensor([True]))
    with pytest.raises(LoadError):
        DiskTable(tmp_path / "table", description={"identity": SECOND})
    assert len(DiskTable(tmp_path / "table", description={"identity": FIRST})) == 1
