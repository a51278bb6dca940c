"""The iterable that training reads: one process's share of the batches, epoch by epoch.

It is no torch DataLoader on purpose. Lightning rebuilds those under DDP with a sampler of its own, which breaks up batches
that were put together on purpose and knows nothing of streams; a plain iterable it leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from simlearn.data.batch import SampleTable
from simlearn.data.sources import StreamSource
from simlearn.distributed import all_reduce_min

if TYPE_CHECKING:
    from simlearn.data.loaders import SimilarityDataLoader


class BoundLoader:
    """Batches of a recipe for one process.

    Args:
        recipe: the loader that the user made; it is only read.
        collate: from a list of samples to a batch.
        training: whether the incomplete global batch is dropped and the order is random; otherwise neither, and nothing is
            padded.
        rank: the number of this process.
        world_size: the number of processes.
        table: the data set as columns, once its embeddings are cached.
    """

    def __init__(
        self,
        recipe: SimilarityDataLoader,
        collate: Callable[[list[Any]], Any],
        *,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
        table: SampleTable | None = None,
    ) -> None:
        self.recipe = recipe
        self.collate = collate
        self.training = training
        self.rank = rank
        self.world_size = world_size
        self.table = table
        self._plan = recipe.epoch_plan(training)
        self.batch_count = None if self._plan is None else self._plan.length(world_size, self.drop_last)
        self._epoch = 0
        self._start = 0
        self._yielded = 0
        self._exhausted = False

    @property
    def drop_last(self) -> bool:
        """Whether the global batch that cannot be filled is left out."""
        return self.training if self.recipe.drop_last is None else self.recipe.drop_last

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Holds itself as `sampler`: that is where Lightning looks for a `set_epoch` to call."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; the first iteration after loading a state goes on where it was."""
        if epoch != self._epoch:
            self._epoch, self._start = epoch, 0

    def __len__(self) -> int:
        """The number of batches of an epoch.

        Raises:
            TypeError: where that is not known before the end.
        """
        if self.batch_count is None:
            raise TypeError("a stream has no length")
        return self.batch_count

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of its batches that were trained on."""
        # Lightning fetches one batch ahead of a loader without length, to know which is the last.
        ahead = int(self.batch_count is None and not self._exhausted and self._yielded > self._start)
        batches = self._yielded - ahead
        if self._exhausted or (self.batch_count is not None and batches >= self.batch_count):
            return {"epoch": self._epoch + 1, "batches": 0}
        return {"epoch": self._epoch, "batches": batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the batches that were trained on; they are not read again where samples have numbers."""
        self._epoch, self._start = state["epoch"], state["batches"]
        self._yielded, self._exhausted = self._start, False

    def __iter__(self) -> Iterator[Any]:
        # A generator: the epoch is read at the first batch, since Lightning sets it after calling iter().
        self._yielded, self._exhausted = self._start, False
        for batch in self._batches():
            self._yielded += 1
            yield batch
        self._exhausted = True

    def _batches(self) -> Iterable[Any]:
        source = self.recipe.source
        if isinstance(source, StreamSource):
            return self._stream(source)
        plan = self._plan
        if plan is None:
            raise TypeError("a data set with numbered samples needs a plan of its batches")
        shares = (
            batch[self.rank]
            for batch in islice(plan.plan(self._epoch, self.world_size, self.drop_last), self._start, None)
            if batch[self.rank]
        )
        if self.table is not None:
            table = self.table
            return (table.batch(torch.tensor(share)) for share in shares)
        return DataLoader(source, batch_sampler=_Once(shares), collate_fn=self.collate, **self.recipe.worker_options)

    def _stream(self, source: StreamSource) -> Iterable[Any]:
        set_epoch = getattr(source.data, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(self._epoch)
        shards = _StreamShards(
            source, self.recipe.batch_size, self.rank, self.world_size, self.drop_last, self._start, self.recipe.sharded
        )
        loader = DataLoader(shards, batch_size=None, collate_fn=self.collate, **self.recipe.worker_options)
        if self.recipe.sharded and self.training and self.world_size > 1:
            return _while_all_have_one(loader)
        return loader


class _Once:
    """The batches of one epoch, as torch's DataLoader wants them."""

    def __init__(self, batches: Iterable[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class _StreamShards(IterableDataset[list[Any]]):
    """The batches of a stream that one worker of one process makes.

    Unless the data set shards itself, every worker of every process reads the whole stream and keeps its part of every
    `workers`-th global batch. So the batches are those of a single process with W times the batch size, in the same order,
    and every process has equally many.
    """

    def __init__(
        self,
        source: StreamSource,
        batch_size: int,
        rank: int,
        world_size: int,
        drop_last: bool,
        start: int,
        sharded: bool,
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.rank, self.world_size = (0, 1) if sharded else (rank, world_size)
        self.drop_last = drop_last
        self.start = start
        self.sharded = sharded

    def __iter__(self) -> Iterator[list[Any]]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        start = self.start
        if self.sharded:  # this worker's own batches: DataLoader takes one from each worker in turn
            start, worker, workers = max(0, -(-(self.start - worker) // workers)), 0, 1
        whole = self.batch_size * self.world_size
        for number, batch in enumerate(_chunks(self.source, whole)):
            if number < start or (number - start) % workers != worker or (len(batch) < whole and self.drop_last):
                continue
            bounds = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(len(batch)), self.world_size))])
            share = batch[bounds[self.rank] : bounds[self.rank + 1]]
            if share:
                yield share


def _chunks(samples: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(samples)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _while_all_have_one(batches: Iterable[Any]) -> Iterator[Any]:
    """Stop at the shortest shard: a process that trained on alone would wait for the others' gradients for ever."""
    iterator = iter(batches)
    while True:
        batch = next(iterator, None)
        if not int(all_reduce_min(torch.tensor([int(batch is not None)]))):
            return
        yield batch
