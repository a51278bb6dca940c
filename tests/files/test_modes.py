"""Whatever wrote a file, the umask says who may read it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from users import as_another_user, reachable_folder

from simlearn.files import apply_umask, replaced_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="has no modes")


@pytest.fixture(params=[0o022, 0o002, 0o077, 0o027, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_by_other_libraries(folder: Path) -> None:
    """As safetensors and `tempfile` do: for nobody but the user."""
    (folder / "inner").mkdir(0o700)
    (folder / "inner" / "deep").mkdir(0o777)
    save_file({"a": torch.ones(2)}, folder / "inner" / "model.safetensors")
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    Path(name).rename(folder / "settings.json")
    (folder / "open").write_text("")
    (folder / "open").chmod(0o666)


def test_all_below_a_folder_gets_the_modes_of_new_files(tmp_path: Path, umask: int) -> None:
    write_by_other_libraries(tmp_path)
    apply_umask(tmp_path)
    assert {path.name: mode(path) for path in tmp_path.rglob("*")} == {
        "inner": 0o777 & ~umask,
        "deep": 0o777 & ~umask,
        "model.safetensors": 0o666 & ~umask,
        "settings.json": 0o666 & ~umask,
        "open": 0o666 & ~umask,
    }


def test_links_and_what_they_lead_to_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(0o700)
    (tmp_path / "mine" / "secret").write_text("")
    (tmp_path / "mine" / "secret").chmod(0o600)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").symlink_to(tmp_path / "mine" / "secret")
    (tmp_path / "folder" / "inner").symlink_to(tmp_path / "mine")
    (tmp_path / "folder" / "broken").symlink_to(tmp_path / "nowhere")
    apply_umask(tmp_path / "folder")
    assert (mode(tmp_path / "mine"), mode(tmp_path / "mine" / "secret")) == (0o700, 0o600)


def test_setgid_stays(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2700)
    apply_umask(tmp_path)
    assert mode(tmp_path / "shared") & 0o7077 == 0o2055


def test_a_replaced_folder_is_right_whoever_wrote_it(tmp_path: Path, umask: int) -> None:
    with replaced_folder(tmp_path / "target", "settings.json") as draft:
        write_by_other_libraries(draft)
    assert mode(tmp_path / "target") == 0o777 & ~umask
    assert mode(tmp_path / "target" / "inner") == 0o777 & ~umask
    assert mode(tmp_path / "target" / "inner" / "model.safetensors") == 0o666 & ~umask


def test_another_user_reads_what_this_one_wrote() -> None:
    with reachable_folder() as folder:
        with replaced_folder(folder / "target", "settings.json") as draft:
            write_by_other_libraries(draft)

        def read() -> None:
            assert torch.equal(load_file(folder / "target" / "inner" / "model.safetensors")["a"], torch.ones(2))

        as_another_user(read)
