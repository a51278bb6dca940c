"""A table on disk that was damaged: a clear error or a repair, never a wrong vector."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from processes import forked

from simlearn.embeddings import Embeddings
from simlearn.files import LoadError, sealed
from simlearn.meta import columns
from simlearn.store import DiskTable

COUNT = 12
KEYS = [bytes([number] * 16) for number in range(COUNT)]
DATA = ["vectors/data.ninja", "keys", "checksums", "meta/name", "meta/length"]


def vectors(many: bool) -> Embeddings:
    if not many:
        return Embeddings(torch.arange(COUNT * 3.0).view(COUNT, 3) + 1)
    mask = torch.arange(4) < torch.arange(COUNT)[:, None] % 4
    return Embeddings(torch.arange(COUNT * 12.0).view(COUNT, 4, 3) + 1, mask)


def fill(table: DiskTable, many: bool) -> None:
    meta = columns([{"name": "ab"[number % 2], "length": number} for number in range(COUNT)])
    table.append(KEYS, vectors(many), meta)
    table.flush()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of a test need not outlast a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(params=[False, True], ids=["one vector", "many vectors"])
def many(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def folder(tmp_path: Path, many: bool) -> Path:
    fill(DiskTable(tmp_path / "table", description={"encoder": "text"}), many)
    return tmp_path / "table"


def right(table: DiskTable, number: int, many: bool) -> bool:
    taken, meta = table.take(table.rows([KEYS[number]]), "cpu")
    values, expected = taken.values[0], vectors(many).values[number]
    if many:
        expected = expected[: number % 4]
    names = meta["name"]
    assert isinstance(names, columns_type)
    told = (names.names[int(names.codes[0])], int(meta["length"][0]))  # type: ignore[index]
    return torch.equal(values, expected) and told == ("ab"[number % 2], number)


columns_type = type(columns([{"x": "a"}])["x"])


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def check_and_heal(folder: Path, many: bool) -> int:
    """Every row is right, or refused, or gone; a repair and another fill make all of them right. How many were not."""
    table, wrong = DiskTable(folder), 0
    for number in range(COUNT):
        try:
            assert right(table, number, many)
        except KeyError:
            wrong += 1
        except LoadError as error:
            wrong += 1
            assert "is not what was written to it: simlearn.cache.verify(path, repair=True)" in str(error)
    assert wrong == len(table.verify())
    assert DiskTable.repair(folder) == wrong
    healed = DiskTable(folder)
    assert len(healed) == COUNT - wrong and not len(healed.verify())
    fill(healed, many)
    assert len(healed) == COUNT and all(right(healed, number, many) for number in range(COUNT))
    assert os.listdir(folder.parent) == ["table"]
    return wrong


@pytest.mark.parametrize("name", [*DATA, "offsets"])
def test_a_flipped_bit_is_found(folder: Path, many: bool, name: str) -> None:
    if name == "offsets" and not many:
        pytest.skip("one vector an object needs none")
    size = (folder / name).stat().st_size
    for place in range(0, size, max(1, size // 11)):
        copy = folder.parent / "copies" / "table"
        shutil.copytree(folder, copy)
        flip(copy / name, place, place % 8)
        assert check_and_heal(copy, many) in ((1,) if name != "offsets" else (1, 2))
        shutil.rmtree(copy.parent)


def test_rows_that_moved_are_found(folder: Path, many: bool) -> None:
    path = folder / "vectors/data.ninja"
    content = path.read_bytes()
    path.write_bytes(content[12:] + content[:12])
    assert check_and_heal(folder, many) == COUNT - (COUNT // 4 if many else 0)


@pytest.mark.parametrize("name", ["commit.json", "store.json"])
def test_a_flipped_bit_of_the_words_is_found(folder: Path, name: str) -> None:
    size = (folder / name).stat().st_size
    whole = (folder / name).read_bytes()
    for place in range(size - 1):  # but for the last line break
        flip(folder / name, place, place % 7)
        try:
            DiskTable(folder)
        except LoadError as error:
            assert name in str(error)
        else:
            assert json.loads((folder / name).read_text()) == json.loads(whole), "only white space differs"
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["type", "dtype", "shape", "order"])
def test_the_words_of_mmap_ninja_are_put_right(folder: Path, name: str) -> None:
    path = folder / "vectors" / f"{name}.ninja"
    whole = path.read_bytes()
    for damage in (b"", whole[:-1] + b"?"):
        path.write_bytes(damage)
        DiskTable(folder)
        assert path.read_bytes() == whole
    path.unlink()
    DiskTable(folder)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("name", [*DATA, "offsets"])
@pytest.mark.parametrize("left", [None, 0, 0.5, -1])
def test_a_file_that_was_cut_short_is_found(folder: Path, many: bool, name: str, left: float | None) -> None:
    if name == "offsets" and not many:
        pytest.skip("one vector an object needs none")
    path = folder / name
    size = path.stat().st_size
    if left is None:
        path.unlink()
    else:
        os.truncate(path, int(size * left) if left >= 0 else size - 1)
    message = "is missing" if left is None else "bytes were committed|were committed"
    with pytest.raises(LoadError, match=f"{name}.*({message}).*keeps the rows that are whole"):
        DiskTable(folder)
    lost = DiskTable.repair(folder)
    assert lost == {None: COUNT, 0: COUNT}.get(left, lost) or (many and name == "vectors/data.ninja")
    assert 1 <= lost <= (COUNT if left in (None, 0) else COUNT - 3)
    healed = DiskTable(folder)
    assert len(healed) == COUNT - lost and not len(healed.verify())
    fill(healed, many)
    assert all(right(healed, number, many) for number in range(COUNT))


def test_a_repair_of_what_is_whole_changes_nothing(folder: Path) -> None:
    before = (folder / "commit.json").read_bytes()
    assert DiskTable.repair(folder) == 0
    assert (folder / "commit.json").read_bytes() == before
    with pytest.raises(LoadError, match="commit.json is missing"):
        DiskTable.repair(folder.parent)
    assert os.listdir(folder.parent) == ["table"]


def test_pruning_does_not_make_a_damaged_row_valid(folder: Path, many: bool) -> None:
    table = DiskTable(folder)
    assert right(table, 3, many)
    flip(folder / "vectors/data.ninja", 40)
    table.rewrite(torch.ones(COUNT, dtype=torch.bool))
    assert len(table) == COUNT - 1 and not len(table.verify())


@pytest.mark.parametrize("name", ["commit.json", "store.json"])
def test_a_newer_simlearn_wrote_it(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "FORMAT_VERSION", 99)
    content = json.loads((folder / name).read_text())
    sealed.write_sealed(folder / name, {k: v for k, v in content.items() if k not in ("format_version", "checksum")})
    with pytest.raises(LoadError, match=f"{name} has format version 99.*upgrade simlearn"):
        DiskTable(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
def test_a_full_disk_keeps_what_was_committed(tmp_path: Path, many: bool) -> None:
    """A limit on the size of files stands for it."""
    child = forked(lambda: _fill_a_disk(tmp_path / "table", many))
    assert os.waitpid(child, 0)[1] == 0
    table = DiskTable(tmp_path / "table")
    assert len(table) == 2 * COUNT and not len(table.verify())
    assert all(right(table, number, many) for number in range(COUNT))


def _fill_a_disk(path: Path, many: bool) -> None:
    import resource

    table = DiskTable(path, description={})
    fill(table, many)
    size = (path / "vectors/data.ninja").stat().st_size
    more = [bytes([100 + number] * 16) for number in range(COUNT)]
    meta = columns([{"name": "c", "length": 0}] * COUNT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    table.append(more, vectors(many), meta)
    for _ in range(2):
        with pytest.raises(OSError, match=rf"cannot write to .*Its {COUNT} rows of before are safe: make room"):
            table.flush()
        assert (path / "vectors/data.ninja").stat().st_size == size, "the room was given back"
        assert all(right(table, number, many) for number in range(COUNT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    table.flush()
