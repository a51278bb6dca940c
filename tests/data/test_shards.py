"""Data sets of many files."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_on_two
from small_models import quiet_trainer
from torch.utils.data import DataLoader

from simlearn import (
    BagOfTokensEncoder,
    HashedNGrams,
    LoadError,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    ShardedDataset,
    TrainableModel,
    fit,
)
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.shard_batches import _Ranges
from simlearn.data.share import Share

SIZES = (23, 0, 7, 31, 1)
ENDS = ("parquet", "csv", "jsonl", "jsonl.gz")


def write(folder: Path, end: str = "parquet", sizes: tuple[int, ...] = SIZES, group: int = 5) -> str:
    """Files of so many rows each, numbered on across them; the glob that names them."""
    folder.mkdir(exist_ok=True)
    first = 0
    for number, size in enumerate(sizes):
        rows = [{"n": n, "text": f"text {n}"} for n in range(first, first + size)]
        path = folder / f"part-{number}.{end}"
        frame = pd.DataFrame(rows, columns=["n", "text"]).astype({"n": "int64", "text": "str"})
        if end == "parquet":
            table = pa.Table.from_pandas(frame, preserve_index=False).cast(
                pa.schema([("n", pa.int64()), ("text", pa.string())])
            )
            pq.write_table(table, path, row_group_size=group)
        elif end == "csv":
            frame.to_csv(path, index=False)
        else:
            text = "".join(json.dumps(row) + "\n" for row in rows).encode()
            path.write_bytes(gzip.compress(text) if end.endswith("gz") else text)
        first += size
    return f"{folder}/*.{end}"


def loader_of(data: Any, batch_size: int = 4, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(data, batch_size, obj_a="text", obj_b="text", score=partial(_number), **options)


def _number(row: dict[str, Any]) -> float:
    return float(row["n"])


def numbers(samples: Any) -> list[int]:
    return [int(sample.score) for sample in samples]


def bound_to(loader: Any, rank: int = 0, world_size: int = 1, training: bool = True) -> BoundLoader:
    return loader.bind(numbers, training=training, rank=rank, world_size=world_size)  # type: ignore[no-any-return]


@pytest.mark.parametrize("end", ENDS)
def test_by_itself_it_gives_all_rows_in_order(tmp_path: Path, end: str) -> None:
    data = ShardedDataset(write(tmp_path, end), ["n"])
    assert [int(row["n"]) for row in data] == list(range(sum(SIZES)))
    assert data.to_memory() == list(data) and list(data.to_memory()[0]) == ["n"]
    assert data.count == (sum(SIZES) if end == "parquet" else None)
    by_workers = DataLoader(data, batch_size=None, num_workers=2)
    assert sorted(int(row["n"]) for row in by_workers) == list(range(sum(SIZES)))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_each_row_once(tmp_path: Path, end: str, world_size: int, workers: int) -> None:
    data = ShardedDataset(write(tmp_path, end), shuffle_buffer=8)
    loader = loader_of(data, num_workers=workers)
    ranks = [bound_to(loader, rank, world_size) for rank in range(world_size)]
    epochs = []
    for epoch in (0, 1):
        for bound in ranks:
            bound.set_epoch(epoch)
        batches = [list(bound) for bound in ranks]
        assert len({len(own) for own in batches}) == 1, "processes would wait for each other"
        assert all(len(batch) == 4 for own in batches for batch in own)
        seen = [n for own in batches for batch in own for n in batch]
        assert len(seen) == len(set(seen)) and sum(SIZES) - len(seen) < 4 * world_size
        epochs.append(batches)
        for bound in ranks:
            bound.set_epoch(epoch + 10)
            bound.set_epoch(epoch)
            assert len(bound) == len(batches[0]) if end == "parquet" else bound.batch_count is None
        assert [list(bound) for bound in ranks] == batches, "an epoch has one order"
    assert epochs[0] != epochs[1]
    told = [n for rank in range(world_size) for batch in bound_to(loader, rank, world_size, False) for n in batch]
    assert sorted(told) == list(range(sum(SIZES))), "to evaluate, nothing is left out"


@settings(deadline=None)
@given(
    total=st.integers(1, 60),
    batch_size=st.integers(1, 5),
    world_size=st.integers(1, 3),
    workers=st.integers(1, 4),
    training=st.booleans(),
    drop_last=st.booleans(),
)
def test_ranges_are_what_dealing_one_by_one_gives(
    total: int, batch_size: int, world_size: int, workers: int, training: bool, drop_last: bool
) -> None:
    class Counted:
        count = total

    sizes = []
    whole: list[int] = []
    for worker in range(workers):
        for rank in range(world_size):
            share = Share(rank, world_size, training, drop_last)
            ranges = _Ranges(None, Counted(), batch_size, share, 0, None)  # type: ignore[arg-type]
            part = ranges.part(worker, workers)
            assert part.start == len(whole), "one behind the other"
            whole += part
            sizes.append(len(part))
    share = Share(0, world_size, training, drop_last)
    step = batch_size * world_size
    kept = min(total, share.count(total, step) * step)
    assert whole == list(range(kept))


@pytest.mark.parametrize("end", ["parquet", "jsonl.gz"])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (1, 2)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_goes_on_where_it_was_left(
    tmp_path: Path, end: str, workers: int, rank: int, world_size: int, shuffle: bool
) -> None:
    loader = loader_of(ShardedDataset(write(tmp_path, end), shuffle_buffer=7), num_workers=workers, shuffle=shuffle)
    bound = bound_to(loader, rank, world_size)
    bound.set_epoch(3)
    whole = list(bound)
    for done in (1, 2, 3, 5):
        again = bound_to(loader, rank, world_size)
        again.load_state_dict(state_after(loader, 3, done, rank, world_size))
        again.set_epoch(3)
        assert list(again) == whole[done:]


def state_after(loader: Any, epoch: int, done: int, rank: int = 0, world_size: int = 1) -> dict[str, int]:
    bound = bound_to(loader, rank, world_size)
    bound.set_epoch(epoch)
    batches = iter(bound)
    for _ in range(done + (bound.batch_count is None)):  # of unknown length one more is fetched
        next(batches)
    return bound.state_dict()


def test_what_was_trained_on_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = loader_of(ShardedDataset(write(tmp_path, sizes=(50, 50)), shuffle_buffer=5), batch_size=5)
    state = state_after(loader, 0, 16)
    read = []
    inner = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, n, **o: read.append(n) or inner(self, n, **o))
    bound = bound_to(loader)
    bound.load_state_dict(state)
    assert len(list(bound)) == 4 and len(read) == 4


def test_other_workers_cannot_go_on(tmp_path: Path) -> None:
    data = ShardedDataset(write(tmp_path))
    state = state_after(loader_of(data), 1, 2)
    with pytest.raises(ValueError, match=r"begun with {'processes': 1, 'workers': 0}, .* 'workers': 2}; take as many"):
        bound_to(loader_of(data, num_workers=2)).load_state_dict(state)
    bound_to(loader_of(data, num_workers=2)).load_state_dict({"epoch": 2, "batches": 0})


def batches_of(paths: str, on_error: Any, epoch: int) -> list[list[int]]:
    rank = torch.distributed.get_rank()
    loader = loader_of(ShardedDataset(paths, shuffle_buffer=8, on_error=on_error), num_workers=2)
    bound = bound_to(loader, rank, 2)
    bound.set_epoch(epoch)
    return list(bound)


@pytest.mark.parametrize("end", ["parquet", "csv"])
def test_two_processes_with_two_workers(tmp_path: Path, end: str) -> None:
    paths = write(tmp_path, end)
    epochs = [run_on_two(batches_of, *[(paths, "raise", epoch)] * 2) for epoch in (0, 1)]
    for epoch in epochs:
        seen = [n for own in epoch for batch in own for n in batch]
        assert len(epoch[0]) == len(epoch[1]) and len(seen) == len(set(seen)) == sum(SIZES) // 8 * 8
    assert epochs[0] != epochs[1]


def spoil(path: Path) -> None:
    """Make the second row group of a Parquet file unreadable."""
    at = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(bytes(content))


def test_processes_end_together_where_rows_were_left_out(tmp_path: Path) -> None:
    paths = write(tmp_path, sizes=(40, 40))
    spoil(tmp_path / "part-1.parquet")
    own = run_on_two(batches_of, *[(paths, "skip", 0)] * 2)
    assert len(own[0]) == len(own[1]) > 4


def test_an_unreadable_row_group_is_named_or_left_out(tmp_path: Path) -> None:
    paths = write(tmp_path, sizes=(20, 20))
    spoil(tmp_path / "part-1.parquet")
    with pytest.raises(LoadError, match=r"part-1.parquet, row group 1 cannot be read: "):
        list(ShardedDataset(paths))
    skipping = ShardedDataset(paths, on_error="skip")
    with pytest.warns(UserWarning, match=r"1 left out: .*part-1.parquet, row group 1 cannot be read"):
        assert [row["n"] for row in skipping] == [*range(25), *range(30, 40)]
    loader = loader_of(skipping)
    with pytest.warns(UserWarning, match="left out"):
        whole = list(bound_to(loader))
    again = bound_to(loader)
    again.load_state_dict(state_after(loader, 0, 3))
    with pytest.warns(UserWarning, match="left out"):
        assert list(again) == whole[3:]


def test_an_unreadable_row_of_parquet_is_named(tmp_path: Path) -> None:
    texts = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    pq.write_table(pa.table({"n": [0, 1], "text": texts}), tmp_path / "a.parquet")
    with pytest.raises(LoadError, match=r"a.parquet, row group 0, row 1, cannot be read: .*utf-8"):
        list(ShardedDataset(tmp_path / "a.parquet"))
    with pytest.warns(UserWarning, match="1 left out"):
        assert list(ShardedDataset(tmp_path / "a.parquet", on_error="skip")) == [{"n": 0, "text": "a"}]


def test_files_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    paths = write(tmp_path, sizes=(3, 3))
    (tmp_path / "part-1.parquet").write_bytes(b"no parquet")
    with pytest.raises(LoadError, match=r"part-1.parquet cannot be read"):
        ShardedDataset(paths)
    with pytest.warns(UserWarning, match="1 left out"):
        data = ShardedDataset(paths, on_error="skip")
    assert len(list(data)) == 3


@pytest.mark.parametrize("end", ENDS)
def test_a_column_that_one_file_lacks(tmp_path: Path, end: str) -> None:
    write(tmp_path / "a", end, (3,))
    write(tmp_path / "b", end, (3,))
    one = tmp_path / "b" / f"part-0.{end}"
    if end == "parquet":
        pq.write_table(pa.table({"m": [1]}), one)
    elif end == "csv":
        one.write_text("m\n1\n")
    else:
        one.write_bytes(gzip.compress(b'{"m": 1}\n') if end.endswith("gz") else b'{"m": 1}\n')
    with pytest.raises(LoadError, match=f"b/part-0.{end}.* has no column 'n'; there are 'm'"):
        ShardedDataset([tmp_path / "a" / f"*.{end}", tmp_path / "b" / f"*.{end}"], ["n"])


def test_rows_of_text_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 0}\n{"n": 1}\n{\n' + "".join(f'{{"n": {n}}}\n' for n in range(3, 20)))
    loader = PairsSimilarityDataLoader(str(tmp_path / "a.jsonl"), 4, obj_a="n", obj_b="n", shuffle=False)
    with pytest.raises(LoadError, match=r"a.jsonl, row 2, is no line of JSON"):
        list(loader)
    skipping = ShardedDataset(tmp_path / "a.jsonl", on_error="skip")
    loader = PairsSimilarityDataLoader(skipping, 4, obj_a="n", obj_b="n", shuffle=False)
    with pytest.warns(UserWarning, match="1 left out"):
        batches = [batch.queries for batch in loader]
    assert batches == [[0, 1, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19]]


@pytest.mark.parametrize(
    ("files", "options", "error", "message"),
    [
        ({"a.parquet": None, "b.csv": b"n\n1\n"}, {}, ValueError, "are of two kinds; make a data set of each"),
        ({"a.txt": b"x"}, {}, LoadError, "rows are read from .parquet"),
        ({"a.csv": b"n\n"}, {"shuffle_buffer": 0}, ValueError, "shuffle_buffer must be at least 1"),
        ({"a.csv": b"n\n"}, {"on_error": "ignore"}, ValueError, "on_error must be 'raise' or 'skip'"),
    ],
)
def test_what_cannot_be(tmp_path: Path, files: Any, options: Any, error: Any, message: str) -> None:
    for name, content in files.items():
        if content is None:
            write(tmp_path, sizes=(2,))
        else:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        ShardedDataset(f"{tmp_path}/*", **options)


def test_files_without_a_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of the 2 files, from .*part-0.parquet on, has a row"):
        ShardedDataset(write(tmp_path, sizes=(0, 0)))
    with pytest.raises(ValueError, match="leave out sharded=True"):
        loader_of(write(tmp_path / "b"), sharded=True)


def test_a_loader_reads_the_columns_that_it_needs(tmp_path: Path) -> None:
    paths = write(tmp_path)
    loader = PairsSimilarityDataLoader(paths, 4, obj_a="text", obj_b=["text", "n"], document_log_q="count", seed=3)
    assert loader.shards is not None and loader.shards.columns == ["text", "n"] and loader.shards.seed == 3
    assert next(iter(loader)).documents[1] == {"text": "text 1", "n": 1}
    assert loader_of(paths).shards.columns is None, "a function may read any column"  # type: ignore[union-attr]
    assert PairsSimilarityDataLoader(paths, obj_a="text", obj_b="n").shards.columns == ["text", "n"]  # type: ignore[union-attr]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.mark.parametrize("end", ["parquet", "jsonl.gz"])
def test_files_elsewhere(tmp_path: Path, server: str, end: str) -> None:
    write(tmp_path, end, (6, 5))
    whole = list(range(11))
    assert [row["n"] for row in ShardedDataset(f"{server}/part-*.{end}")] == whole
    missing = f"{server}/missing.{end}"
    with pytest.raises(FileNotFoundError, match="names no file"):
        ShardedDataset(missing)
    memory = fsspec.filesystem("memory")
    for number in (0, 1):
        memory.pipe(f"/shards-{end}/part-{number}.{end}", (tmp_path / f"part-{number}.{end}").read_bytes())
    loader = loader_of(f"memory://shards-{end}/*.{end}")
    assert sorted(n for batch in bound_to(loader, training=False) for n in batch) == whole


class Model(TrainableModel):
    def configure_encoders(self) -> BagOfTokensEncoder:
        return BagOfTokensEncoder(HashedNGrams(64), 4)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()


def test_training_reads_them(tmp_path: Path) -> None:
    loader = PairsSimilarityDataLoader(write(tmp_path), 4, obj_a="text", obj_b="text", num_workers=2)
    trainer = quiet_trainer(max_epochs=2)
    fit(Model(), loader, trainer=trainer)
    assert trainer.num_training_batches == sum(SIZES) // 4 and trainer.global_step == 2 * (sum(SIZES) // 4)


def test_a_text_that_is_missing_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None, "b", "c"]}), tmp_path / "a.parquet")
    loader = PairsSimilarityDataLoader(str(tmp_path / "*.parquet"), 4, obj_a="text", obj_b="text")
    with pytest.raises(TypeError, match="got a NoneType; a text that is missing is an empty one"):
        fit(Model(), loader, trainer=quiet_trainer(max_epochs=1))
