"""The batches of a stream, made by the workers of all processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from simlearn.data.shards import ShardedDataset
from simlearn.data.share import Share, chunks
from simlearn.data.sources import StreamSource
from simlearn.distributed import all_reduce_min, is_distributed


def stream_batches(
    source: StreamSource, batch_size: int, share: Share, start: int, *, sharded: bool, **options: Any
) -> Iterable[Any]:
    """The batches of one process.

    Args:
        source: the stream.
        batch_size: the samples of a process's batch.
        share: which process.
        start: how many batches to leave out at the beginning.
        sharded: whether the stream gives each worker of each process its own samples.
        **options: of torch's DataLoader.
    """
    if not sharded:
        return DataLoader(_Dealt(source, batch_size, share, start), batch_size=None, **options)
    own = _Own(source, batch_size, replace(share, rank=0, world_size=1))
    # Which worker gave which of the batches left out depends on how many each has: only counting them tells.
    batches = islice(DataLoader(own, batch_size=None, **options), start, None)
    return _while_all_have_one(batches) if share.training and is_distributed() else batches


def shard_batches(
    source: StreamSource,
    shards: ShardedDataset,
    batch_size: int,
    share: Share,
    start: int,
    epoch: int | None,
    **options: Any,
) -> Iterable[Any]:
    """The batches of one process from files, of which its workers read their own rows.

    Args:
        source: the samples of the files.
        shards: the files.
        batch_size: the samples of a process's batch.
        share: which process.
        start: how many batches to leave out at the beginning.
        epoch: in whose order; None for that of the files.
        **options: of torch's DataLoader.
    """
    if shards.count is None:
        return DataLoader(_Unread(source, shards, batch_size, share, start, epoch), batch_size=None, **options)
    if not shards.skips:
        return DataLoader(_Ranges(source, shards, batch_size, share, start, epoch), batch_size=None, **options)
    own = _Ranges(source, shards, batch_size, share, 0, epoch)  # what is missing before the start, only reading tells
    batches = islice(DataLoader(own, batch_size=None, **options), start, None)
    return _while_all_have_one(batches) if share.training and is_distributed() else batches


class _Dealt(IterableDataset[list[Any]]):
    """What one worker of one process makes of a stream that is the same in all of them.

    Every worker of every process reads the whole stream and keeps its part of every `workers`-th global batch. So the
    batches are those of a single process with W times the batch size, in the same order, and every process has equally
    many.
    """

    def __init__(self, source: StreamSource, batch_size: int, share: Share, start: int) -> None:
        self.source = source
        self.batch_size = batch_size
        self.share = share
        self.start = start

    def __iter__(self) -> Iterator[list[Any]]:
        worker, workers = _hide_worker()
        whole = self.batch_size * self.share.world_size
        batches = self.share.deal(chunks(self.source, whole), whole)
        return islice(batches, self.start + worker, None, workers)


class _Unread(_Dealt):
    """What one worker makes of text files: rows that others get are passed over without being looked at."""

    def __init__(
        self,
        source: StreamSource,
        shards: ShardedDataset,
        batch_size: int,
        share: Share,
        start: int,
        epoch: int | None,
    ) -> None:
        super().__init__(source, batch_size, share, start)
        self.shards = shards
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Any]]:
        worker, workers = _hide_worker()
        whole = self.batch_size * self.share.world_size
        rows: Iterable[Any] = self.shards.unread(self.epoch)
        if self.shards.skips:  # before they are dealt, or a process might get nothing of a batch
            rows = self.shards.read(rows)
        batches = islice(self.share.deal(chunks(rows, whole), whole), self.start + worker, None, workers)
        for batch in batches:
            yield list(map(self.source.reader, batch if self.shards.skips else self.shards.read(batch)))


class _Ranges(IterableDataset[list[Any]]):
    """What one worker of one process makes of Parquet files, whose rows are counted: a run of them.

    The runs of all are as long as the global batches that are theirs: worker 0 has the first batch, worker 1 the second
    and so on, and what is left over is what would be left over if the rows were dealt one by one.
    """

    def __init__(
        self,
        source: StreamSource,
        shards: ShardedDataset,
        batch_size: int,
        share: Share,
        start: int,
        epoch: int | None,
    ) -> None:
        self.source = source
        self.shards = shards
        self.batch_size = batch_size
        self.share = share
        self.start = start
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Any]]:
        info = get_worker_info()
        number, workers = (0, 1) if info is None else (info.id, info.num_workers)
        worker = (number + self.start) % workers  # the loader asks the first one first, whosever turn it is
        done = len(range(worker, self.start, workers)) * self.batch_size
        rows = self.shards.rows(self.part(worker, workers), self.epoch, done)
        return chunks(map(self.source.reader, rows), self.batch_size)

    def part(self, worker: int, workers: int) -> range:
        """The places of its rows in the epoch's order."""
        total, whole = self.shards.count or 0, self.batch_size * self.share.world_size
        batches = self.share.count(total, whole)
        rest = range(total)[(batches - 1) * whole : batches * whole]  # the last batch, which need not be full
        last = (batches - 1) % workers
        start = 0
        for one, process in product(range(workers), range(self.share.world_size)):
            own = len(range(one, batches, workers)) * self.batch_size
            if batches and one == last:
                own += len(replace(self.share, rank=process).of(rest)) - self.batch_size
            if (one, process) == (worker, self.share.rank):
                return range(start, start + own)
            start += own
        raise ValueError(f"there is no worker {worker} of {workers} and process {self.share.rank}")


class _Own(IterableDataset[list[Any]]):
    """What one worker makes of its own samples: batches of this process alone."""

    def __init__(self, source: StreamSource, batch_size: int, share: Share) -> None:
        self.source = source
        self.batch_size = batch_size
        self.share = share

    def __iter__(self) -> Iterator[list[Any]]:
        return self.share.deal(chunks(self.source, self.batch_size), self.batch_size)


def _hide_worker() -> tuple[int, int]:
    """The number of this worker, and of how many; from now on the data set sees neither.

    Some streams split themselves among the workers whenever they find any: Hugging Face's do, and most examples of an
    IterableDataset. Split here once more, they would lose all but a part of their samples.
    """
    info = get_worker_info()
    if info is None:
        return 0, 1
    torch.utils.data._utils.worker._worker_info = None
    if get_worker_info() is not None:
        raise RuntimeError(
            "this version of torch does not let a stream be read whole by each worker; pass num_workers=0, or a stream "
            "that splits itself and sharded=True"
        )
    return info.id, info.num_workers


def _while_all_have_one(batches: Iterable[Any]) -> Iterator[Any]:
    """Stop at the shortest shard: a process that trained on alone would wait for the others' gradients for ever."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"  # NCCL reduces nothing that is on a CPU
    for batch in _then_none(batches):
        if not int(all_reduce_min(torch.tensor(int(batch is not None), device=device))):
            return
        yield batch


def _then_none(batches: Iterable[Any]) -> Iterator[Any]:
    yield from batches
    yield None
