"""The batches of files, made by the workers of all processes, each of which reads rows of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice, product
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from simlearn.data.shards import ShardedDataset
from simlearn.data.share import Share, chunks
from simlearn.data.sources import StreamSource
from simlearn.data.streams import Placed, Placing, hide_worker, while_all_have_one
from simlearn.distributed import is_distributed


def shard_batches(
    source: StreamSource,
    shards: ShardedDataset,
    batch_size: int,
    share: Share,
    start: int,
    epoch: int | None,
    *,
    collate_fn: Callable[..., Any],
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
        collate_fn: from a list of samples to a batch.
        **options: of torch's DataLoader.
    """
    options |= {"batch_size": None, "collate_fn": Placing(collate_fn)}
    if shards.count is None:
        return DataLoader(_Unread(source, shards, batch_size, share, start, epoch), **options)
    if not shards.skips:
        return DataLoader(_Ranges(source, shards, batch_size, share, start, epoch), **options)
    own = _Ranges(source, shards, batch_size, share, 0, epoch)  # what is missing before the start, only reading tells
    batches = islice(DataLoader(own, **options), start, None)
    return while_all_have_one(batches) if share.training and is_distributed() else batches


class _OfFiles(IterableDataset[Placed]):
    """What one worker of one process makes of files; see `shard_batches` for what it is given."""

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


class _Unread(_OfFiles):
    """What one worker makes of text files: rows that others get are passed over without being looked at."""

    def __iter__(self) -> Iterator[Placed]:
        worker, workers = hide_worker()
        whole = self.batch_size * self.share.world_size
        rows: Iterable[Any] = self.shards.unread(self.epoch)
        if self.shards.skips:  # before they are dealt, or a process might get nothing of a batch
            rows = self.shards.read(rows)
        batches = self.share.deal(chunks(enumerate(rows), whole), whole)
        for batch in islice(batches, self.start + worker, None, workers):
            places, own = zip(*batch, strict=True)
            read = own if self.shards.skips else self.shards.read(own)
            yield Placed(places, list(map(self.source.reader, read)))


class _Ranges(_OfFiles):
    """What one worker of one process makes of Parquet files, whose rows are counted: a run of them.

    The runs of all are as long as the global batches that are theirs: worker 0 has the first batch, worker 1 the second
    and so on, and what is left over is what would be left over if the rows were dealt one by one.
    """

    def __iter__(self) -> Iterator[Placed]:
        info = get_worker_info()
        number, workers = (0, 1) if info is None else (info.id, info.num_workers)
        worker = (number + self.start) % workers  # the loader asks the first one first, whosever turn it is
        done = len(range(worker, self.start, workers)) * self.batch_size
        part = self.part(worker, workers)
        samples = map(self.source.reader, self.shards.rows(part, self.epoch, done))
        batches: Iterator[Any] = chunks(enumerate(samples, part.start + done), self.batch_size)
        if self.shards.skips:  # there may be too few for the last one
            batches = replace(self.share, rank=0, world_size=1).deal(batches, self.batch_size)
        return map(Placed.of, batches)

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
