"""Rows of files, whatever kind they are of."""

from __future__ import annotations

import gzip
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simlearn import LoadError
from simlearn.records import Faults, expand, open_records, read_records

ROWS = [{"title": "red, spoon", "price": 1}, {"title": 'a "lamp"\nof two lines', "price": 2}, {"title": "", "price": 3}]


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pd.DataFrame(rows).to_parquet(path, row_group_size=2)
        return path
    text = (
        pd.DataFrame(rows).to_csv(index=False) if name.endswith(".csv") else "".join(json.dumps(r) + "\n" for r in rows)
    )
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.jsonl", "a.json", "a.jsonl.gz"])
def test_all_kinds_of_files(tmp_path: Path, name: str) -> None:
    path = str(write(tmp_path / name))
    as_text = ".csv" in name
    whole = [{**row, "price": str(row["price"]) if as_text else row["price"]} for row in ROWS]
    assert list(read_records(path)) == whole
    assert list(read_records(path, ["price"])) == [{"price": row["price"]} for row in whole]
    with pytest.raises(LoadError, match=r"no column 'cost'; there are 'title', 'price'"):
        list(read_records(path, ["title", "cost"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": st.text() | st.none() | st.integers(-9, 9), "b": st.booleans()})))
def test_json_lines_come_back(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_records(str(tmp_path / "a.jsonl"))) == rows


def test_globs_are_sorted_and_files_come_once(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        write(tmp_path / name, [{"n": name}])
    (tmp_path / "c.csv").mkdir()
    paths = [str(tmp_path / "b.csv"), str(tmp_path / "*.csv")]
    assert expand(paths) == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert [row["n"] for row in read_records(paths)] == ["a.csv", "b.csv"]


def test_links_are_files(tmp_path: Path) -> None:
    """As in the snapshots of Hugging Face's cache."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0").write_text('{"n": 1}\n')
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "blobs" / "0")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "blobs", target_is_directory=True)
    assert expand(f"{tmp_path}/*.jsonl") == [str(tmp_path / "a.jsonl")]
    assert list(read_records(f"{tmp_path}/*.jsonl")) == [{"n": 1}]
    (tmp_path / "c.jsonl").symlink_to(tmp_path / "blobs" / "1")
    with pytest.raises(LoadError, match=r"c.jsonl cannot be read"):
        list(read_records(f"{tmp_path}/*.jsonl"))


def test_names_that_look_like_globs(tmp_path: Path) -> None:
    folder = tmp_path / "day [1]"
    folder.mkdir()
    write(folder / "part[1].csv")
    write(folder / "part1.csv")
    assert expand(folder / "part[1].csv") == [str(folder / "part[1].csv")]
    assert len(expand(f"{tmp_path}/day [[]1]/*.csv")) == 2
    with pytest.raises(FileNotFoundError, match=r"\[\[\] stands for a \["):
        expand(folder / "*.csv")
    with pytest.raises(FileNotFoundError, match=r"x\*\.csv names no file; nothing that is there fits this glob"):
        expand(tmp_path / "x*.csv")
    with pytest.raises(FileNotFoundError, match=r"list of files is empty"):
        expand([])


def test_on_another_file_system() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/shop/part-0.jsonl", b'{"n": 1}\n\n{"n": 2}\n')
    assert expand("memory://shop/*.jsonl") == ["memory://shop/part-0.jsonl"]
    assert list(read_records("memory://shop/*.jsonl")) == [{"n": 1}, {"n": 2}]


def test_chained_file_systems(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.csv", "n\n1\n")
        archive.writestr("b.csv", "n\n2\n")
    url = f"zip://*.csv::{tmp_path}/all.zip"
    assert expand(url) == [f"zip://{name}.csv::{tmp_path}/all.zip" for name in "ab"]
    assert [row["n"] for row in read_records(url)] == ["1", "2"]
    write(tmp_path / "c.parquet")
    cached = f"simplecache::file://{tmp_path}/*.parquet"
    assert [row["price"] for row in read_records(cached)] == [1, 2, 3]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'n\n1\n\xff\n"2"3\n4,5\n6\n')
    (tmp_path / "b.jsonl").write_bytes(b'{"n": 1}\n{"n": "\xff"}\n{\n{"m": 2}\n{"n": 3}\n')
    for name, expected in (("a.csv", ["1", "6"]), ("b.jsonl", [1, 3])):
        faults = Faults(skip=True)
        assert [row["n"] for row in open_records(str(tmp_path / name), ["n"]).all_rows(faults)] == expected
        assert len(faults.messages) == 3
        with pytest.warns(UserWarning, match=f"3 left out: .*{name}, row 1"):
            faults.report()
        assert not faults.messages


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"n": 1}\n{', "a.jsonl, row 1, is no line of JSON"),
        ("a.jsonl", b"[1]\n", "row 0, is no line of JSON: a list, where an object is needed"),
        ("a.jsonl", b'{"n": 1}\n{"m": 1}\n', "row 1 has no column 'n'; there are 'm'"),
        ("a.csv", b"a,b\n1\n", "row 0, cannot be read: it has 1 values, the first line 2 names"),
        ("a.csv", b"\xff\xfe", "a.csv cannot be read: its first line is no UTF-8"),
        ("a.csv", b"a\n1\n\xff\n", "a.csv, row 1, cannot be read: it is no UTF-8"),
        ("a.csv", b'a\n"1"2\n', "a.csv, row 0, cannot be read: ',' expected"),
        ("a.csv.gz", b"no gzip", "a.csv.gz cannot be read: Not a gzipped file"),
        (
            "a.csv.gz",
            gzip.compress(b"a\n" + b"123456\n" * 9999, mtime=0)[:60],
            "a.csv.gz, behind its first .* rows, cannot be read",
        ),
        ("a.parquet", b"no parquet", "a.parquet cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=message):
        list(read_records(str(tmp_path / name)))


def test_empty_files(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert list(read_records(str(tmp_path / name))) == []


def test_paths_that_name_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"names no file; a folder is read with .*/\*\.parquet"):
        expand(str(tmp_path))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match="rows are read from .parquet"):
        list(read_records(str(tmp_path / "a.txt")))
    with pytest.raises(ImportError, match="pip install s3fs"):
        expand("s3://bucket/a.parquet")
    write(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"simlearn\[data\]"):
        list(read_records(str(tmp_path / "a.parquet")))


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,m,n\n1,2,3\n")
    arrays = [pa.array([1]), pa.array([2]), pa.array([3])]
    pq.write_table(pa.Table.from_arrays(arrays, names=["n", "m", "n"]), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        for columns in (None, ["n"]):
            with pytest.raises(LoadError, match=rf"{name} has several columns 'n'; rename them"):
                list(read_records(tmp_path / name, columns))
        assert [int(row["m"]) for row in read_records(tmp_path / name, "m")] == [2], "a name without a list around it"
        with pytest.raises(ValueError, match="columns names no column; leave it out"):
            list(read_records(tmp_path / name, []))


def test_a_row_that_python_cannot_hold_is_named_and_left_out_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"day": pa.array([1, 10**8, 3], pa.date32())}), tmp_path / "a.parquet")
    with pytest.raises(LoadError, match=r"a.parquet, row group 0, row 1, cannot be read: .*out of range"):
        list(read_records(tmp_path / "a.parquet"))
    faults = Faults(skip=True)
    assert len(list(open_records(str(tmp_path / "a.parquet")).all_rows(faults))) == 2
    assert len(faults.messages) == 1


@pytest.mark.parametrize("change", ["shorter", "longer", "other groups", "other columns"])
def test_a_parquet_file_that_was_replaced(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": range(9)}), path, row_group_size=4)
    file = open_records(str(path))
    count = {"shorter": 5, "longer": 12}.get(change, 9)
    groups = 3 if change == "other groups" else 4
    pq.write_table(pa.table({"m" if change == "other columns" else "n": range(count)}), path, row_group_size=groups)
    cause = "no column 'n'" if change == "other columns" else "other row groups than before; make the data set anew"
    with pytest.raises(LoadError, match=rf"a\.parquet .*{cause}"):
        list(file.all_rows(Faults()))


def test_a_csv_file_that_was_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,m\n1,2\n")
    file = open_records(str(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("m,n\n2,1\n")
    with pytest.raises(LoadError, match=r"a\.csv.* it has another first line than before; make the data set anew"):
        list(file.all_rows(Faults()))


def test_a_csv_value_that_is_too_long_has_a_cure(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"n,m\n{'x' * 200_000},1\n")
    with pytest.raises(LoadError, match=r"row 0, cannot be read: field larger than field limit \(131072\); take JSON"):
        list(read_records(tmp_path / "a.csv"))


def test_an_empty_file_has_no_columns_to_lack(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert list(read_records(tmp_path / name, ["n"])) == []
