"""Which samples make a batch.

A plan of an epoch depends only on the seed and the epoch, never on the process: every process makes the same one and
takes its share of each global batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data.distributed import DistributedSampler

from simlearn.data.randomness import PrivateRandomness
from simlearn.data.share import Share, chunks

Rows: TypeAlias = "Sequence[int] | npt.NDArray[np.int64]"
"""Numbers of samples."""

Drawn = TypeVar("Drawn")


class EpochPlan(Protocol):
    """What plans an epoch."""

    def plan(self, epoch: int, share: Share) -> Iterator[Rows]:
        """The batches of one process in an epoch, none of them empty.

        Args:
            epoch: the number of the epoch, from 0.
            share: which process, of how many; and what becomes of a global batch that is not full.
        """
        ...

    def length(self, share: Share) -> int | None:
        """How many global batches an epoch has; None where that is not known.

        In training that is how many batches each process gets; otherwise it may get nothing of some.
        """
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

    def plan(self, epoch: int, share: Share) -> Iterator[Rows]:
        """See `EpochPlan`."""
        order = np.arange(self.size)
        if self.shuffle:
            np.random.default_rng((self.seed, epoch)).shuffle(order)
        whole = self.batch_size * share.world_size
        return share.deal((order[start : start + whole] for start in range(0, self.size, whole)), whole)

    def length(self, share: Share) -> int:
        """See `EpochPlan`."""
        return share.count(self.size, self.batch_size * share.world_size)


class SamplerBatches:
    """Batches from a torch sampler: consecutive runs of what it yields.

    A sampler that draws from the global random generators (`RandomSampler`, `WeightedRandomSampler`) gives the same
    order on every process and after a restart; one with a generator of its own has to see to that itself.

    Args:
        sampler: yields sample numbers; its `set_epoch` is called where it has one.
        batch_size: the samples of a process's batch.
        seed: where the order comes from.

    Raises:
        ValueError: for a sampler that yields the samples of one process only.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, seed: int = 0) -> None:
        _refuse_distributed(sampler)
        self.sampler = sampler
        self.batch_size = batch_size
        self.seed = seed

    def plan(self, epoch: int, share: Share) -> Iterator[Rows]:
        """See `EpochPlan`."""
        whole = self.batch_size * share.world_size
        return share.deal(_draw(self.sampler, whole, epoch, self.seed), whole)

    def length(self, share: Share) -> int | None:
        """See `EpochPlan`."""
        size = _size(self.sampler)
        return None if size is None else share.count(size, self.batch_size * share.world_size)


class BatchSamplerBatches:
    """Batches from a torch batch sampler: W consecutive ones make a global batch. See `SamplerBatches`.

    Args:
        batch_sampler: yields lists of sample numbers; its `set_epoch` is called where it has one.
        seed: where the order comes from.

    Raises:
        ValueError: for a batch sampler that yields the batches of one process only.
    """

    def __init__(self, batch_sampler: Iterable[Sequence[int]], seed: int = 0) -> None:
        _refuse_distributed(batch_sampler)
        self.batch_sampler = batch_sampler
        self.seed = seed

    def plan(self, epoch: int, share: Share) -> Iterator[Rows]:
        """See `EpochPlan`."""
        for own in share.deal(_draw(self.batch_sampler, share.world_size, epoch, self.seed), share.world_size):
            if not len(own[0]):
                raise ValueError(f"{type(self.batch_sampler).__name__} gave an empty batch")
            yield own[0]

    def length(self, share: Share) -> int | None:
        """See `EpochPlan`."""
        size = _size(self.batch_sampler)
        return None if size is None else share.count(size, share.world_size)


def _draw(sampler: Iterable[Drawn], size: int, epoch: int, seed: int) -> Iterator[list[Drawn]]:
    """Runs of what a sampler yields, with random numbers that depend on seed and epoch alone."""
    for part in (sampler, getattr(sampler, "sampler", None)):  # a BatchSampler holds a sampler
        set_epoch = getattr(part, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
    randomness = PrivateRandomness(seed, epoch)
    with randomness.lent():
        runs = chunks(sampler, size)
        run = next(runs, None)
    while run:
        yield run
        with randomness.lent():
            run = next(runs, None)


def _size(sampler: object) -> int | None:
    """The length of a sampler; None where it has none, which Python also says by NotImplementedError or TypeError."""
    try:
        return len(sampler)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def _refuse_distributed(sampler: object) -> None:
    for part in (sampler, getattr(sampler, "sampler", None)):
        if isinstance(part, DistributedSampler) and part.num_replicas > 1:
            raise ValueError(
                "a DistributedSampler yields the samples of one process only, and the batches are split among the "
                "processes here; pass the sampler that it wraps, or shuffle=True"
            )
