"""Which samples make a batch.

A batch sampler plans an epoch for all processes at once: it yields *global* batches, each with one list of sample numbers
for every process. The plan depends only on the seed and the epoch, so every process makes the same one and takes its share.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from torch import Tensor

GlobalBatch: TypeAlias = "list[list[int]]"


class EpochPlan(Protocol):
    """What plans an epoch."""

    def plan(self, epoch: int, world_size: int, drop_last: bool) -> Iterator[GlobalBatch]:
        """The global batches of an epoch, each of `world_size` lists.

        Args:
            epoch: the number of the epoch, from 0.
            world_size: the number of processes.
            drop_last: leave out the global batch that cannot be filled; otherwise it is split as evenly as it goes.
        """
        ...

    def length(self, world_size: int, drop_last: bool) -> int | None:
        """How many global batches an epoch has; None where that is not known."""
        ...


class RandomBatches:
    """Batches of samples in random or in given order, each sample once.

    Args:
        size: the number of samples.
        batch_size: the samples of a process's batch.
        shuffle: a new random order each epoch.
        seed: where the order comes from.
    """

    def __init__(self, size: int, batch_size: int, shuffle: bool, seed: int = 0) -> None:
        self.size = size
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed

    def plan(self, epoch: int, world_size: int, drop_last: bool) -> Iterator[GlobalBatch]:
        """See `EpochPlan`."""
        order = (
            np.random.default_rng((self.seed, epoch)).permutation(self.size) if self.shuffle else np.arange(self.size)
        )
        whole = self.batch_size * world_size
        for start in range(0, self.size, whole):
            part = order[start : start + whole]
            if len(part) < whole and drop_last:
                return
            yield [share.tolist() for share in np.array_split(part, world_size)]

    def length(self, world_size: int, drop_last: bool) -> int:
        """See `EpochPlan`."""
        whole = self.batch_size * world_size
        return self.size // whole if drop_last else -(-self.size // whole)


class GroupBatchSampler:
    """Batches of P groups with K samples each (P×K), so that every anchor has positives and negatives.

    Each epoch the samples of a group are shuffled and cut into portions of K, every sample in one of them; a group with fewer
    than K samples is used whole (see `short_groups`). A rest of one sample, which would have no positive, joins another
    portion. A global batch takes portions of different groups, from those with most portions left, so that no group is left
    over while others run out.

    Args:
        groups: (N,) group ids.
        groups_per_batch: P.
        samples_per_group: K, at least 2.
        seed: where the order comes from.

    Raises:
        ValueError: for P below 1, or for K below 2: an object alone in its group has no positive.
    """

    def __init__(
        self, groups: Tensor | Sequence[int], groups_per_batch: int, samples_per_group: int, seed: int = 0
    ) -> None:
        if samples_per_group < 2:
            raise ValueError(
                f"samples_per_group must be at least 2, or no object has a positive; got {samples_per_group}"
            )
        if groups_per_batch < 1:
            raise ValueError(f"groups_per_batch must be at least 1, got {groups_per_batch}")
        _, members = np.unique(np.asarray(groups), return_inverse=True)
        order = np.argsort(members, kind="stable")
        self.members = np.split(order, np.flatnonzero(np.diff(members[order])) + 1) if len(order) else []
        self.groups_per_batch = groups_per_batch
        self.samples_per_group = samples_per_group
        self.seed = seed

    @property
    def short_groups(self) -> int:
        """How many groups have fewer than K samples."""
        return sum(len(rows) < self.samples_per_group for rows in self.members)

    def plan(self, epoch: int, world_size: int, drop_last: bool) -> Iterator[GlobalBatch]:
        """See `EpochPlan`."""
        random = np.random.default_rng((self.seed, epoch))
        portions = [_portions(random.permutation(rows), self.samples_per_group) for rows in self.members]
        queue = [
            (-len(cut), luck, group) for group, (cut, luck) in enumerate(zip(portions, random.random(len(portions))))
        ]
        for taken in _draw(queue, self.groups_per_batch * world_size, random, drop_last):
            shares = np.array_split(np.array(taken), world_size)
            yield [[int(row) for group in share for row in portions[group].pop()] for share in shares]

    def length(self, world_size: int, drop_last: bool) -> int:
        """See `EpochPlan`."""
        counts = [_portion_count(len(rows), self.samples_per_group) for rows in self.members]
        queue = [(-count, 0.0, group) for group, count in enumerate(counts)]
        return sum(1 for _ in _draw(queue, self.groups_per_batch * world_size, np.random.default_rng(0), drop_last))


def _draw(
    queue: list[tuple[int, float, int]], size: int, random: np.random.Generator, drop_last: bool
) -> Iterator[list[int]]:
    """Sets of different groups, those with most portions left first, equals at random."""
    heapq.heapify(queue)
    while queue and (len(queue) >= size or not drop_last):
        taken = [heapq.heappop(queue) for _ in range(min(size, len(queue)))]
        groups = [group for _, _, group in taken]
        random.shuffle(groups)
        yield groups
        for left, _, group in taken:
            if left + 1 < 0:
                heapq.heappush(queue, (left + 1, random.random(), group))


def _portions(rows: np.ndarray, size: int) -> list[np.ndarray]:
    cuts = [rows[start : start + size] for start in range(0, len(rows), size)]
    if len(cuts) > 1 and len(cuts[-1]) == 1:
        if size > 2:  # lend it one of the portion before
            cuts[-2:] = [cuts[-2][:-1], np.concatenate([cuts[-2][-1:], cuts[-1]])]
        else:
            cuts[-2:] = [np.concatenate(cuts[-2:])]
    return cuts


def _portion_count(members: int, size: int) -> int:
    return 1 if members <= size else -(-members // size) - (size == 2 and members % 2)


class SamplerBatches:
    """Batches from a torch sampler: consecutive runs of what it yields.

    Args:
        sampler: yields sample numbers, the same on every process; its `set_epoch` is called where it has one.
        batch_size: the samples of a process's batch.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size

    def plan(self, epoch: int, world_size: int, drop_last: bool) -> Iterator[GlobalBatch]:
        """See `EpochPlan`."""
        _set_epoch(self.sampler, epoch)
        whole = self.batch_size * world_size
        batch: list[int] = []
        for index in self.sampler:
            batch.append(int(index))
            if len(batch) == whole:
                yield [share.tolist() for share in np.array_split(batch, world_size)]
                batch = []
        if batch and not drop_last:
            yield [share.tolist() for share in np.array_split(batch, world_size)]

    def length(self, world_size: int, drop_last: bool) -> int | None:
        """See `EpochPlan`."""
        if not hasattr(self.sampler, "__len__"):
            return None
        return RandomBatches(len(self.sampler), self.batch_size, shuffle=False).length(world_size, drop_last)


class BatchSamplerBatches:
    """Batches from a torch batch sampler: W consecutive ones make a global batch.

    Args:
        batch_sampler: yields lists of sample numbers, the same on every process; its `set_epoch` is called where it has one.
    """

    def __init__(self, batch_sampler: Iterable[Sequence[int]]) -> None:
        self.batch_sampler = batch_sampler

    def plan(self, epoch: int, world_size: int, drop_last: bool) -> Iterator[GlobalBatch]:
        """See `EpochPlan`."""
        _set_epoch(self.batch_sampler, epoch)
        batches: GlobalBatch = []
        for batch in self.batch_sampler:
            batches.append([int(index) for index in batch])
            if len(batches) == world_size:
                yield batches
                batches = []
        if batches and not drop_last:
            yield batches + [[]] * (world_size - len(batches))

    def length(self, world_size: int, drop_last: bool) -> int | None:
        """See `EpochPlan`."""
        if not hasattr(self.batch_sampler, "__len__"):
            return None
        count = len(self.batch_sampler)
        return count // world_size if drop_last else -(-count // world_size)


def _set_epoch(sampler: object, epoch: int) -> None:
    set_epoch = getattr(sampler, "set_epoch", None)
    if callable(set_epoch):
        set_epoch(epoch)
