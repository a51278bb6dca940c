"""The batches of a stream, made by the workers of all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from simlearn.data.batch import BatchCollator
from simlearn.data.share import Share, chunks
from simlearn.data.sources import StreamSource
from simlearn.distributed import all_reduce_min, is_distributed


def stream_batches(
    source: StreamSource,
    batch_size: int,
    share: Share,
    start: int,
    *,
    sharded: bool,
    collate_fn: Callable[..., Any],
    **options: Any,
) -> Iterable[Any]:
    """The batches of one process.

    Args:
        source: the stream.
        batch_size: the samples of a process's batch.
        share: which process.
        start: how many batches to leave out at the beginning.
        sharded: whether the stream gives each worker of each process its own samples.
        collate_fn: from a list of samples to a batch.
        **options: of torch's DataLoader.
    """
    options["collate_fn"] = Placing(collate_fn)
    if not sharded:
        return DataLoader(_Dealt(source, batch_size, share, start), batch_size=None, **options)
    own = _Own(source, batch_size, share)
    # Which worker gave which of the batches left out depends on how many each has: only counting them tells.
    batches = islice(DataLoader(own, batch_size=None, **options), start, None)
    return while_all_have_one(batches) if share.training and is_distributed() else batches


class Placed(NamedTuple):
    """Samples of a batch, and where they stand in the stream, or in this part of it."""

    places: Sequence[int]
    samples: list[Any]
    shard: int = 0

    @classmethod
    def of(cls, batch: Iterable[tuple[int, Any]], shard: int = 0) -> Placed:
        """Of places with their samples."""
        places, samples = zip(*batch, strict=True)
        return cls(places, list(samples), shard)


@dataclass(frozen=True)
class Placing:
    """Collates what is placed; picklable where `collate` is."""

    collate: Callable[..., Any]

    def __call__(self, placed: Placed) -> Any:
        """The batch."""
        if isinstance(self.collate, BatchCollator):
            return self.collate(placed.samples, places=placed.places, shard=placed.shard)
        return self.collate(placed.samples)


class _Dealt(IterableDataset[Placed]):
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

    def __iter__(self) -> Iterator[Placed]:
        worker, workers = hide_worker()
        whole = self.batch_size * self.share.world_size
        batches = self.share.deal(chunks(enumerate(self.source), whole), whole)
        return (Placed.of(batch) for batch in islice(batches, self.start + worker, None, workers))


class _Own(IterableDataset[Placed]):
    """What one worker makes of its own samples: batches of this process alone."""

    def __init__(self, source: StreamSource, batch_size: int, share: Share) -> None:
        self.source = source
        self.batch_size = batch_size
        self.share = share

    def __iter__(self) -> Iterator[Placed]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        shard = 1 + self.share.rank * workers + worker
        alone = replace(self.share, rank=0, world_size=1)
        batches = alone.deal(chunks(enumerate(self.source), self.batch_size), self.batch_size)
        return (Placed.of(batch, shard) for batch in batches)


def hide_worker() -> tuple[int, int]:
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


def while_all_have_one(batches: Iterable[Any]) -> Iterator[Any]:
    """Stop at the shortest shard: a process that trained on alone would wait for the others' gradients for ever."""
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"  # NCCL reduces nothing that is on a CPU
    for batch in _then_none(batches):
        if not int(all_reduce_min(torch.tensor(int(batch is not None), device=device))):
            return
        yield batch


def _then_none(batches: Iterable[Any]) -> Iterator[Any]:
    yield from batches
    yield None
