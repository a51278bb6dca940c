"""The batches of a stream, whoever makes them."""

from __future__ import annotations

from typing import Any

import datasets
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from number_streams import Numbers, Parts, SplitAmongWorkers, objects

import simlearn.data.streams as streams
from simlearn.data.kinds import GroupKind
from simlearn.data.share import Share
from simlearn.data.sources import SampleReader, StreamSource, source_of
from simlearn.data.streams import stream_batches


def source(data: Any) -> StreamSource:
    read = source_of(data, SampleReader(GroupKind(), {}))
    assert isinstance(read, StreamSource)
    return read


def batches(
    data: Any,
    *,
    size: int = 4,
    rank: int = 0,
    world_size: int = 1,
    training: bool = True,
    drop_last: bool = True,
    start: int = 0,
    sharded: bool = False,
    workers: int = 0,
) -> list[list[float]]:
    share = Share(rank, world_size, training, drop_last)
    options = {"collate_fn": objects, "num_workers": workers}
    return list(stream_batches(source(data), size, share, start, sharded=sharded, **options))


@given(
    size=st.integers(0, 60),
    batch_size=st.integers(1, 6),
    world_size=st.integers(1, 4),
    training=st.booleans(),
    drop_last=st.booleans(),
    start=st.integers(0, 5),
)
@settings(deadline=None)
def test_global_batches_are_those_of_one_process(
    size: int, batch_size: int, world_size: int, training: bool, drop_last: bool, start: int
) -> None:
    options = {"training": training, "drop_last": drop_last}
    shares = [
        batches(Numbers(size), size=batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    whole = batch_size * world_size
    alone = batches(Numbers(size), size=whole, **options)
    if training or drop_last:
        assert len({len(share) for share in shares}) == 1
        joined = [[obj for share in shares for obj in share[step]] for step in range(len(shares[0]))]
        assert joined == (alone if len(alone) == len(joined) else alone[:-1])
        assert len(alone) - len(joined) <= (size % whole > 0)
    else:
        assert sorted(obj for share in shares for batch in share for obj in batch) == list(range(size))
    for rank, share in enumerate(shares):
        later = batches(Numbers(size), size=batch_size, rank=rank, world_size=world_size, start=start, **options)
        assert later == share[start:]


@pytest.mark.parametrize(
    "data",
    [
        Numbers(50),
        SplitAmongWorkers(50),
        datasets.Dataset.from_dict({"obj": [float(n) for n in range(50)], "group": range(50)}).to_iterable_dataset(3),
    ],
    ids=["plain", "splits itself", "hugging face"],
)
def test_workers_give_every_batch_once_and_in_order(data: Any) -> None:
    """A stream that would split itself among the workers is not split twice."""
    columns = {"obj": "obj", "group": "group"} if isinstance(data, datasets.IterableDataset) else {}
    read = source_of(data, SampleReader(GroupKind(), columns))
    assert isinstance(read, StreamSource)
    for rank in range(2):
        share = Share(rank, 2, training=False)
        expected = list(stream_batches(read, 4, share, 1, sharded=False, collate_fn=objects))
        assert len(expected) == 6
        given = list(stream_batches(read, 4, share, 1, sharded=False, collate_fn=objects, num_workers=2))
        assert given == expected


def test_a_torch_that_lets_nothing_be_hidden_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    info = type("Info", (), {"id": 0, "num_workers": 2})
    monkeypatch.setattr(streams, "get_worker_info", lambda: info)
    with pytest.raises(RuntimeError, match=r"pass num_workers=0, or .* sharded=True"):
        batches(Numbers(8))


def test_a_sharded_stream_is_read_as_it_comes() -> None:
    assert batches(Parts(10, 100), rank=1, world_size=2, sharded=True) == [[100, 101, 102, 103], [104, 105, 106, 107]]
    rest = batches(Parts(10, 100), rank=1, world_size=2, sharded=True, training=False, drop_last=False)
    assert [len(batch) for batch in rest] == [4, 4, 2]


def test_a_sharded_stream_goes_on_where_it_was() -> None:
    """Also when one worker has less, so that the other gives several batches in a row at the end."""
    data = SplitAmongWorkers(40, uneven=-10)
    options = {"sharded": True, "workers": 2, "drop_last": False, "training": False}
    whole = batches(data, **options)
    assert sorted(obj for batch in whole for obj in batch) == list(range(40))
    for start in (1, 7):
        assert batches(data, start=start, **options) == whole[start:]


def _train_on_own_part(rank: int, sizes: list[int], file: str, results: Any) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=len(sizes))
    results[rank] = batches(Parts(sizes[rank], 100 * rank), rank=rank, world_size=len(sizes), sharded=True)
    dist.destroy_process_group()


def test_training_stops_with_the_shortest_shard(tmp_path: Any) -> None:
    """A process that had one batch more would wait for ever."""
    with mp.Manager() as manager:
        results = manager.dict()
        arguments = ([13, 9], str(tmp_path / "rendezvous"), results)
        mp.start_processes(_train_on_own_part, arguments, nprocs=2, start_method="fork")
        assert results[0] == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert results[1] == [[100, 101, 102, 103], [104, 105, 106, 107]]


def test_errors_of_a_stream_reach_the_reader() -> None:
    class Broken(Numbers):
        def __iter__(self) -> Any:
            yield from super().__iter__()
            raise OSError("the server is gone")

    for workers in (0, 1):
        with pytest.raises(OSError, match="the server is gone"):
            batches(Broken(8), workers=workers)


def test_spawned_workers() -> None:
    share = Share()
    options = {"collate_fn": objects, "num_workers": 1, "multiprocessing_context": "spawn"}
    given = list(stream_batches(source(Numbers(6)), 4, share, 0, sharded=False, **options))
    assert given == [[0, 1, 2, 3], [4, 5]]
    assert torch.utils.data.get_worker_info() is None
