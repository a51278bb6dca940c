"""Embeddings on disk; what both tables do is in test_tables.py, damage in test_damage.py, kills in test_kills.py."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import mmap_ninja
import numpy as np
import pytest
import torch
from users import as_another_user, reachable_folder

from simlearn.embeddings import Embeddings
from simlearn.files import CAN_SHARE, LoadError, nobody_uses
from simlearn.meta import columns
from simlearn.store import DiskTable, pending

ROOT = str(Path(__file__).parents[2])


def keys(count: int, first: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "little") for number in range(first, first + count)]


def filled(path: Path, count: int = 6, **options: Any) -> DiskTable:
    table = DiskTable(path, description={"encoder": "text"}, **options)
    table.append(
        keys(count), Embeddings(torch.arange(count * 3.0).view(count, 3)), columns([{"n": 1, "x": "a"}] * count)
    )
    table.flush()
    return table


def test_it_is_there_for_the_next_process(tmp_path: Path) -> None:
    filled(tmp_path / "table")
    code = (
        "import sys, torch; from simlearn.store import DiskTable\n"
        "table = DiskTable(sys.argv[1])\n"
        "print(table.description, table.take(torch.tensor([4, 1]), 'cpu')[0].values.tolist())\n"
        "print('pytorch_lightning' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "table")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        check=True,
    ).stdout
    assert told.splitlines() == ["{'encoder': 'text'} [[12.0, 13.0, 14.0], [3.0, 4.0, 5.0]]", "False"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_mmap_ninja_reads_the_vectors(tmp_path: Path, dtype: torch.dtype) -> None:
    table = filled(tmp_path / "table", dtype=dtype)
    table.append(keys(1, 6), Embeddings(torch.ones(1, 3)), columns([{"n": 2, "x": "b"}]))
    table.flush()
    opened = torch.from_numpy(np.array(mmap_ninja.np_open_existing(tmp_path / "table" / "vectors"))).view(dtype)
    taken = table.take(torch.arange(7), "cpu")[0].values
    assert taken.dtype is dtype and torch.equal(opened, taken)


def test_many_vectors_lie_end_to_end(tmp_path: Path) -> None:
    values = torch.arange(24.0).view(3, 4, 2)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]]).bool()
    with DiskTable(tmp_path / "table", description={}) as table:
        table.append(keys(3), Embeddings(values, mask), {})
    opened = mmap_ninja.np_open_existing(tmp_path / "table" / "vectors")
    assert np.array_equal(opened, values[mask].numpy())
    assert np.fromfile(tmp_path / "table" / "offsets", np.int64).tolist() == [0, 2, 2, 5]


def test_half_precision_on_request(tmp_path: Path) -> None:
    vectors = Embeddings(torch.tensor([[1.0, 70_000.0]]))
    table = DiskTable(tmp_path / "half", description={}, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"reach 7e\+04, which torch.float16 cannot hold; keep them in torch.bfloat16"):
        table.append(keys(1), vectors, {})
    brain = DiskTable(tmp_path / "brain", description={}, dtype=torch.bfloat16)
    brain.append(keys(1), vectors, {})
    assert torch.equal(brain.take(brain.rows(keys(1)), "cpu")[0].values, vectors.values.bfloat16())
    with pytest.raises(ValueError, match="keeps vectors in torch.bfloat16, not in torch.float16; use another folder"):
        DiskTable(tmp_path / "brain", dtype=torch.float16)
    with pytest.raises(ValueError, match=r"size 2 and bfloat16, got .* float32.*name the dtype"):
        DiskTable(tmp_path / "brain").append(keys(1, 1), vectors, {})
    with pytest.raises(ValueError, match="floating-point dtype, not in torch.int8"):
        DiskTable(tmp_path / "brain", dtype=torch.int8)


def test_no_table_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no table of vectors: it has no commit.json; a description makes"):
        DiskTable(tmp_path / "table")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds \['notes.txt'\] and no commit.json"):
        DiskTable(tmp_path, description={})
    assert os.listdir(tmp_path) == ["notes.txt"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        DiskTable(tmp_path / "new", description={"share": float("nan")})


def test_the_description_of_the_maker_stays(tmp_path: Path) -> None:
    table = filled(tmp_path / "table")
    again = DiskTable(tmp_path / "table", description={"encoder": "other"})
    assert again.description == {"encoder": "text"} and len(again) == 6
    told = table.describe()
    assert json.loads(json.dumps(told)) == told
    assert told["layout"] == "one vector an object of size 3 and float32, with meta {'n': 'int64', 'x': 'names'}"
    assert (told["rows"], told["bytes"]) == (6, table.size)


def test_batches_wait_to_be_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, other = (DiskTable(tmp_path, description={}) for _ in range(2))
    table.append(keys(2), Embeddings(torch.ones(2, 3)), {})
    assert len(table) == 0 and not len(table.missing(keys(2))) and len(other.missing(keys(2))) == 2
    monkeypatch.setattr(pending, "COMMIT_BYTES", 36)
    table.append(keys(1, 2), Embeddings(torch.ones(1, 3)), {})
    assert len(table) == 3 and not len(other.missing(keys(3)))
    monkeypatch.setattr(pending, "COMMIT_SECONDS", 0.0)
    table.append(keys(1, 3), Embeddings(torch.ones(1, 3)), {})
    assert other.rows(keys(4)).tolist() == [0, 1, 2, 3]


def test_an_interrupt_keeps_what_was_encoded(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DiskTable(tmp_path, description={}) as table:
        table.append(keys(2), Embeddings(torch.ones(2, 3)), {})
        raise KeyboardInterrupt
    assert len(DiskTable(tmp_path)) == 2


def test_what_another_process_committed_first_is_dropped(tmp_path: Path) -> None:
    first, second = (DiskTable(tmp_path, description={}) for _ in range(2))
    first.append(keys(4), Embeddings(torch.ones(4, 2)), {})
    second.append(keys(4, 2), Embeddings(torch.zeros(4, 2)), {})
    second.flush()
    assert first.rows(keys(6)).tolist() == [4, 5, 0, 1, 2, 3]
    assert first.take(first.rows(keys(6)), "cpu")[0].values[:, 0].tolist() == [1, 1, 0, 0, 0, 0]


def test_it_pickles_as_its_path(tmp_path: Path) -> None:
    table = filled(tmp_path)
    table.append(keys(1, 6), Embeddings(torch.ones(1, 3)), columns([{"n": 1, "x": "c"}]))
    pickled = pickle.dumps(table)
    assert len(pickled) < 500
    copy = pickle.loads(pickled)
    assert copy.rows(keys(7)).tolist() == list(range(7))
    table.rewrite(torch.ones(7, dtype=torch.bool))
    with pytest.raises(LoadError, match="was pruned or repaired while it was in use"):
        pickle.loads(pickled)


def test_rewriting_keeps_some_rows(tmp_path: Path) -> None:
    table, other = filled(tmp_path / "table"), DiskTable(tmp_path / "table")
    before = other.take(torch.arange(6), "cpu")[0].values
    later = DiskTable(tmp_path / "table")
    later.append(keys(1, 6), Embeddings(torch.ones(1, 3)), columns([{"n": 1, "x": "c"}]))
    later.flush()
    table.rewrite(torch.tensor([True, False, False, True, False, False]))
    assert table.missing(keys(7)).tolist() == [1, 2, 4, 5]
    taken, meta = table.take(table.rows([keys(7)[6], keys(7)[3]]), "cpu")
    assert taken.values.tolist() == [[1, 1, 1], [9, 10, 11]]
    names: Any = meta["x"]
    assert [names.names[code] for code in names.codes] == ["c", "a"]
    assert os.listdir(tmp_path) == ["table"]
    assert torch.equal(other.take(torch.arange(6), "cpu")[0].values, before), "what is mapped stays"
    with pytest.raises(LoadError, match="its rows have other numbers now; run again"):
        other.missing(keys(1, 20))
    with pytest.raises(ValueError, match=r"keep must be \(rows,\) bool of at most 3 rows, got \(4,\)"):
        table.rewrite(torch.ones(4, dtype=torch.bool))
    table.rewrite(torch.zeros(3, dtype=torch.bool))
    assert len(table) == 0 and table.description == {"encoder": "text"}
    table.append(keys(1), Embeddings(torch.ones(1, 3)), {})
    assert table.rows(keys(1)).tolist() == [0]


def test_no_warning_and_nothing_to_write_to(tmp_path: Path) -> None:
    filled(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taken, _ = DiskTable(tmp_path).take(torch.tensor([0]), "cpu")
    taken.values.zero_()
    assert DiskTable(tmp_path).take(torch.tensor([1, 0]), "cpu")[0].values[1].tolist() == [0, 1, 2]
    assert not len(DiskTable(tmp_path).verify())


def test_a_folder_that_cannot_be_written_to_is_read() -> None:
    with reachable_folder() as folder:
        filled(folder / "table")
        (folder / "table" / "vectors" / "shape.ninja").write_bytes(b"as a killed process leaves it")
        for inner in (folder / "table", folder):
            inner.chmod(0o555)

        def read() -> None:
            table = DiskTable(folder / "table", description={"encoder": "text"})
            assert len(table.verify()) == 0 and table.rows(keys(6)).tolist() == list(range(6))
            assert table.take(torch.tensor([1]), "cpu")[0].values.tolist() == [[3, 4, 5]]
            assert not len(table.missing(keys(6)))
            table.append(keys(6), Embeddings(torch.ones(6, 3)), columns([{"n": 1, "x": "a"}] * 6))
            table.flush()
            table.append(keys(1, 6), Embeddings(torch.ones(1, 3)), columns([{"n": 1, "x": "a"}]))
            with pytest.raises(
                PermissionError, match=rf"cannot write to {folder}/table: Permission .*; make it writable"
            ):
                table.flush()
            message = rf"cannot write to {folder}/other/one: Permission denied; make {folder} writable, or choose"
            with pytest.raises(PermissionError, match=message):
                DiskTable(folder / "other" / "one", description={})

        as_another_user(read)


def test_what_may_not_be_read_is_named() -> None:
    with reachable_folder() as folder:
        table = filled(folder / "table").path

        def read(message: str) -> None:
            with pytest.raises(LoadError, match=message):
                DiskTable(table)

        for name in ("store.json", "commit.json", "keys", "vectors/data.ninja"):
            (table / name).chmod(0o600)
            as_another_user(partial(read, rf"{table}/{name} cannot be read: Permission denied"))
            (table / name).chmod(0o644)
        table.chmod(0o700)
        as_another_user(partial(read, rf"{table}/commit.json cannot be read: Permission denied; let its owner"))


FILL = """
import sys, torch
from simlearn.embeddings import Embeddings
from simlearn.store import DiskTable, pending
pending.COMMIT_BYTES = 2000
first = int(sys.argv[2])
with DiskTable(sys.argv[1], description={}) as table:
    for start in range(first, first + 600, 20):
        keys = [number.to_bytes(16, "little") for number in range(start, start + 20)]
        new = table.missing(keys)
        if len(new):
            vectors = torch.tensor([[start + place, -(start + place)] for place in new.tolist()]).float()
            table.append([keys[place] for place in new], Embeddings(vectors), {})
"""


def test_two_processes_fill_one_table(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([*command, first], env=env) for first in ("0", "200")]
    assert [process.wait(60) for process in both] == [0, 0]
    table = DiskTable(tmp_path)
    assert len(table) == 800 and not len(table.verify())
    taken, _ = table.take(table.rows(keys(800)), "cpu")
    assert torch.equal(taken.values, torch.arange(800.0)[:, None] * torch.tensor([1.0, -1.0]))


def test_vectors_are_mapped_in_order(tmp_path: Path) -> None:
    table = DiskTable(tmp_path, description={})
    with pytest.raises(ValueError, match="the table is empty"):
        _ = table.vectors
    filled(tmp_path)
    table.refresh()
    assert torch.equal(table.vectors, table.take(torch.arange(6), "cpu")[0].values)
    DiskTable(tmp_path).rewrite(torch.zeros(6, dtype=torch.bool))
    with pytest.raises(LoadError):
        _ = table.vectors


@pytest.mark.skipif(not CAN_SHARE, reason="this system has no flock")
def test_an_open_table_is_in_use(tmp_path: Path) -> None:
    table = filled(tmp_path)
    with nobody_uses(tmp_path / "store.json") as free:
        assert not free
    other = pickle.loads(pickle.dumps(table))
    del table
    with nobody_uses(tmp_path / "store.json") as free:
        assert not free
    del other
    with nobody_uses(tmp_path / "store.json") as free:
        assert free
