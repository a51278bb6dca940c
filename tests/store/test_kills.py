"""A table on disk whose process is killed, wherever it is in its work."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmap_ninja
import pytest
import torch
from processes import forked

from simlearn.embeddings import Embeddings
from simlearn.meta import Categories, columns
from simlearn.store import DiskTable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills")
POINTS = ["write", "fsync", "replace", "mkdir", "ftruncate"]
"""All that a table asks of the system to change something on disk."""


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process wrote is safe with the system; only a power cut needs it on the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def key(number: int) -> bytes:
    return bytes([number] * 16)


def vectors(numbers: list[int], many: bool) -> Embeddings:
    if not many:
        return Embeddings(torch.tensor([[float(number)] * 3 for number in numbers]))
    mask = torch.arange(3) < torch.tensor(numbers)[:, None] % 4
    return Embeddings(torch.tensor(numbers)[:, None, None].expand(-1, 3, 3).float(), mask)


def fill(folder: Path, many: bool) -> None:
    """Three commits, each with a name that is new."""
    with DiskTable(folder, description={"what": "numbers"}) as table:
        for start in (0, 10, 20):
            numbers = list(range(start, start + 10))
            new = [numbers[place] for place in table.missing([key(number) for number in numbers])]
            if new:
                meta = columns([{"name": f"from {start}", "number": number} for number in new])
                table.append([key(number) for number in new], vectors(new, many), meta)
                table.flush()


def check(table: DiskTable, many: bool) -> list[int]:
    """The numbers that are there, all of them right, also for mmap-ninja."""
    assert not len(table.verify())
    absent = set(table.missing([key(number) for number in range(30)]).tolist())
    numbers = [number for number in range(30) if number not in absent]
    assert len(numbers) == len(table)
    if numbers:
        taken, meta = table.take(table.rows([key(number) for number in numbers]), "cpu")
        expected = vectors(numbers, many)
        if many:
            taken = taken.pad(3)
            assert torch.equal(taken.full_mask(), expected.full_mask())
        mask = expected.full_mask()[..., None] if many else torch.ones(1)
        assert torch.equal(taken.values, expected.values * mask)
        names = meta["name"]
        assert isinstance(names, Categories)
        assert [names.names[code] for code in names.codes] == [f"from {number // 10 * 10}" for number in numbers]
        opened = mmap_ninja.np_open_existing(table.path / "vectors")
        assert len(opened) == sum(number % 4 for number in numbers) if many else len(numbers)
    return numbers


def killed_at(count: int, half: bool, action: Callable[[], None]) -> bool:
    """Run in a child that is killed before its `count`th change to the disk, or in the middle of it if it writes."""
    done = [0]

    def killing(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            done[0] += 1
            if done[0] == count:
                if half and name == "write":
                    original(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return wrapped

    def killed() -> None:
        for name in POINTS:
            setattr(os, name, killing(name, getattr(os, name)))
        action()

    _, status = os.waitpid(forked(killed), 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("many", [False, True], ids=["one vector", "many vectors"])
def test_killed_at_every_change_to_the_disk(tmp_path: Path, many: bool) -> None:
    fill(tmp_path / "whole", many)
    whole = {str(p.relative_to(tmp_path / "whole")): p.read_bytes() for p in files(tmp_path / "whole")}
    folder, point, counts = tmp_path / "table", 0, list[int]()
    while True:
        point += 1
        if not killed_at(point, point % 2 == 0, lambda: fill(folder, many)):
            break
        if (folder / "commit.json").exists():
            counts.append(len(check(DiskTable(folder), many)))
        fill(folder, many)  # the next run
        assert check(DiskTable(folder), many) == list(range(30))
        left = {str(p.relative_to(folder)): p.read_bytes() for p in files(folder)}
        different = {name for name in whole.keys() | left.keys() if whole.get(name) != left.get(name)}
        assert different == {"commit.json"}, "which holds a random generation"
        shutil.rmtree(folder)
    assert counts == sorted(counts), "nothing that was committed is lost"
    assert set(counts) == {0, 10, 20, 30}
    assert point > 60


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_killed_while_it_is_rewritten(tmp_path: Path) -> None:
    folder, outcomes = tmp_path / "table", set[int]()
    keep = torch.arange(30) % 2 == 0
    for point in range(1, 200):
        fill(folder, many=True)
        killed = killed_at(point, True, lambda: DiskTable(folder).rewrite(keep))
        numbers = check(DiskTable(folder), many=True)
        assert numbers in (list(range(30)), list(range(0, 30, 2)))
        outcomes.add(len(numbers))
        fill(folder, many=True)
        if point % 4 == 0 or not killed:
            DiskTable(folder).rewrite(torch.ones(30, dtype=torch.bool))
            assert os.listdir(tmp_path) == ["table"], "what was left beside it is gone"
        assert check(DiskTable(folder), many=True) == list(range(30))
        shutil.rmtree(folder)
        if not killed:
            break
    assert outcomes == {15, 30} and point > 20
