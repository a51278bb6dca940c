"""Tensors are written in one step, for everybody whom the umask lets read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from users import as_another_user, reachable_folder

from simlearn.files import write_tensors


@pytest.mark.skipif(os.name != "posix", reason="has no modes")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o027, 0o000], ids=oct)
def test_the_mode_is_that_of_every_new_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        for _ in range(2):  # new, and over an older one
            write_tensors(tmp_path / "a.safetensors", {"a": torch.ones(2)})
            assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).view(2, 3), "b": torch.ones(0), "c": torch.tensor(1.0).bfloat16()}
    write_tensors(str(tmp_path / "a"), tensors, {"made": "today"})
    found = load_file(tmp_path / "a")
    assert found.keys() == tensors.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype is tensor.dtype for name, tensor in tensors.items()
    )
    assert b'"made":"today"' in (tmp_path / "a").read_bytes()


def test_what_fails_leaves_the_older_file_and_no_draft(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": torch.ones(2)})
    with pytest.raises(ValueError, match="non contiguous"):
        write_tensors(tmp_path / "a", {"a": torch.ones(2, 3).T})
    assert torch.equal(load_file(tmp_path / "a")["a"], torch.ones(2))
    assert os.listdir(tmp_path) == ["a"]


def test_the_error_names_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot write to .*missing/a: No such file"):
        write_tensors(tmp_path / "missing" / "a", {"a": torch.ones(2)})
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"cannot write to .*file/a: Not a directory"):
        write_tensors(tmp_path / "file" / "a", {"a": torch.ones(2)})


def test_who_may_not_write_hears_where() -> None:
    with reachable_folder() as folder:
        folder.chmod(0o555)

        def write() -> None:
            with pytest.raises(PermissionError, match=rf"{folder}/a: Permission denied; choose a place you may"):
                write_tensors(folder / "a", {"a": torch.ones(2)})

        as_another_user(write)
        assert os.listdir(folder) == []
