"""The iterable that training reads: one process's share of the batches, epoch by epoch.

It is no torch DataLoader on purpose. Lightning rebuilds those under DDP with a sampler of its own, which breaks up
batches that were put together on purpose and knows nothing of streams; a plain iterable it leaves alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from simlearn.data.batch import BatchCollator, SampleTable
from simlearn.data.log_q import KnownLogQ
from simlearn.data.query_transform import QueryTransform, seeded
from simlearn.data.samplers import Rows
from simlearn.data.shard_batches import shard_batches
from simlearn.data.share import Share
from simlearn.data.sources import StreamSource
from simlearn.data.streams import stream_batches

if TYPE_CHECKING:
    from simlearn.data.similarity_data_loader import SimilarityDataLoader


class BoundLoader:
    """Batches of a recipe for one process.

    Args:
        recipe: the loader that the user made; it is only read.
        collate: from a list of samples to a batch.
        training: whether the order is random and the incomplete global batch is dropped, where the recipe leaves that
            open; otherwise neither. Nothing is ever padded.
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
        self.table = table
        drop_last = training if recipe.drop_last is None else recipe.drop_last
        self.share = Share(rank, world_size, training, drop_last)
        self._plan = recipe.epoch_plan(training)
        self.batch_count = self._length()
        """The number of global batches of an epoch; None where that is not known before the end."""
        self._epoch = 0
        self._start = 0  # batches of the epoch to leave out
        self._given = 0  # batches of the epoch that were read or left out
        self._finished = False

    def _length(self) -> int | None:
        if self._plan is not None:
            return self._plan.length(self.share)
        shards = self.recipe.shards
        if shards is None or shards.count is None or shards.skips:
            return None
        return self.share.count(shards.count, self.recipe.batch_size * self.share.world_size)

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Holds itself as `sampler`: that is where Lightning looks for a `set_epoch` to call."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; one that a loaded state stands in goes on where it was."""
        if epoch != self._epoch:
            self._go_to(epoch, 0)

    def _go_to(self, epoch: int, batch: int) -> None:
        self._epoch = epoch
        self._start = self._given = batch
        self._finished = False

    def __len__(self) -> int:
        """The number of batches of an epoch.

        Raises:
            TypeError: where that is not known before the end.
        """
        if self.batch_count is None:
            raise TypeError(f"{self.recipe!r} has no length: how many batches there are is known at its end")
        return self.batch_count

    def state_dict(self) -> dict[str, int]:
        """The epoch and the number of its batches that were trained on."""
        # Lightning fetches one batch ahead of a loader without length, to know which is the last.
        ahead = self.batch_count is None and not self._finished and self._given > self._start
        batches = self._given - ahead
        if self._finished or (self.batch_count is not None and batches >= self.batch_count):
            return {"epoch": self._epoch + 1, "batches": 0}
        return {"epoch": self._epoch, "batches": batches, **self._readers()}

    def _readers(self) -> dict[str, int]:
        """How many read it, where the order of the rows depends on that."""
        if self.recipe.shards is None or self.recipe.shards.count is None:
            return {}
        return {"processes": self.share.world_size, "workers": self.recipe.worker_options.get("num_workers", 0)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the batches that were trained on; they are not read again where samples have numbers.

        Raises:
            ValueError: for an epoch that other processes or workers had begun, where these decide about the order.
        """
        now, before = self._readers(), {name: state[name] for name in ("processes", "workers") if name in state}
        if state["batches"] and now != before:
            raise ValueError(
                f"this epoch was begun with {before or 'other data'}, which decides who reads which rows, and cannot "
                f"go on with {now or 'this data'}; take as many again, or a checkpoint from the end of an epoch"
            )
        self._go_to(state["epoch"], state["batches"])

    def __iter__(self) -> Iterator[Any]:
        # A generator: the epoch is read at the first batch, since Lightning sets it after calling iter().
        self._given, self._finished = self._start, False
        for batch in self._batches():
            self._given += 1
            yield batch
        self._start, self._finished = 0, True

    def _batches(self) -> Iterable[Any]:
        recipe, source = self.recipe, self.recipe.source
        collate = self._of_this_epoch(self.collate)
        if recipe.query_transform is not None and self.share.training and isinstance(collate, BatchCollator):
            collate = replace(
                collate, transform=QueryTransform(seeded(recipe.query_transform), recipe.seed, self._epoch)
            )
        options = {"collate_fn": collate, "generator": self._worker_seeds(), **recipe.worker_options}
        if isinstance(source, StreamSource):
            if recipe.shards is not None:
                shuffle = self.share.training if recipe.shuffle is None else recipe.shuffle
                epoch, start = self._epoch if shuffle else None, self._start
                return shard_batches(source, recipe.shards, recipe.batch_size, self.share, start, epoch, **options)
            source.set_epoch(self._epoch)
            return stream_batches(source, recipe.batch_size, self.share, self._start, sharded=recipe.sharded, **options)
        if self._plan is None:
            raise TypeError(f"epoch_plan of {type(recipe).__name__} must plan the batches of samples with numbers")
        plan = islice(self._plan.plan(self._epoch, self.share), self._start, None)
        if self.table is not None:
            if self.table.recheck is not None:
                self.table.recheck(self._epoch)
            return map(self._of_this_epoch(self.table).batch, map(torch.as_tensor, plan))
        options["collate_fn"] = _Numbering(collate)
        return DataLoader(_Numbered(source), batch_sampler=_Once(plan), **options)

    def _of_this_epoch(self, made: Any) -> Any:
        """What makes batches, with a copy of what tells `log_q`: what counts as it goes counts anew in every epoch.

        With workers it does so by itself, since each has a copy of its own.
        """
        log_q = getattr(made, "log_q", None)
        return made if log_q is None or isinstance(log_q, KnownLogQ) else replace(made, log_q=deepcopy(log_q))

    def _worker_seeds(self) -> torch.Generator:
        """Where torch's DataLoader takes the seeds of its workers from.

        Else it draws one from the global generator, so that dropout would be another one for the same batches from
        another place, such as a cache.
        """
        told = (torch.initial_seed(), self.recipe.seed, self._epoch, self.share.rank)
        return torch.Generator().manual_seed(np.random.SeedSequence(told).generate_state(1, np.uint64).item() >> 1)


class _Numbered(Dataset[Any]):
    """Samples with their numbers, which a batch keeps so that its documents can be found again."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitems__(self, rows: list[int]) -> tuple[list[int], list[Any]]:
        return rows, self.source.__getitems__(rows)


@dataclass(frozen=True)
class _Numbering:
    """Collates what `_Numbered` gave; picklable where `collate` is."""

    collate: Callable[..., Any]

    def __call__(self, numbered: tuple[list[int], list[Any]]) -> Any:
        rows, samples = numbered
        return self.collate(samples, rows) if isinstance(self.collate, BatchCollator) else self.collate(samples)


class _Once:
    """The batches of one epoch, as torch's DataLoader wants them."""

    def __init__(self, batches: Iterable[Rows]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield np.asarray(batch).tolist()
