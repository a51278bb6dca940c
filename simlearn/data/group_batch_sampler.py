"""Batches of P groups with K samples each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from simlearn.data.samplers import Rows
from simlearn.data.share import Share

Array: TypeAlias = "npt.NDArray[np.int64]"


class GroupBatchSampler:
    """Batches of P groups with K samples each (P×K), so that every anchor has positives and negatives.

    In three steps, each epoch anew:

    1. The samples of each group are shuffled and cut into portions of K. A group with fewer than K samples is one
       portion (see `short_groups`). A rest of one sample, which would have no positive, takes one from the portion
       before, or with K = 2 joins it.
    2. As many batches are made as can be filled with portions of different groups. What is left over, chosen by chance,
       is left out; where the share does not drop incomplete batches, more but smaller ones take it all.
    3. The portions are spread over the batches by chance, no group twice in a (global) batch.

    Args:
        groups: (N,) group ids.
        groups_per_batch: P, for each process.
        samples_per_group: K, at least 2.
        seed: where the order comes from.

    Raises:
        ValueError: for P below 1, or for K below 2: an object alone in its group has no positive.
    """

    def __init__(
        self, groups: Tensor | Sequence[int], groups_per_batch: int, samples_per_group: int, seed: int = 0
    ) -> None:
        refuse_lonely(samples_per_group)
        if groups_per_batch < 1:
            raise ValueError(f"groups_per_batch must be at least 1, got {groups_per_batch}")
        self.groups_per_batch = groups_per_batch
        self.samples_per_group = samples_per_group
        self.seed = seed
        _, self._groups = np.unique(np.asarray(groups), return_inverse=True)
        sizes = np.bincount(self._groups)
        self.short_groups = int((sizes < samples_per_group).sum())
        """How many groups have fewer than K samples."""
        self._counts, self._starts = _portions(sizes, samples_per_group)

    def plan(self, epoch: int, share: Share) -> Iterator[Rows]:
        """See `EpochPlan`."""
        random = np.random.default_rng((self.seed, epoch))
        shuffled = random.permutation(len(self._groups))
        rows = shuffled[np.argsort(self._groups[shuffled], kind="stable")]
        portions = np.split(rows, self._starts[1:]) if len(rows) else []
        whole = self.groups_per_batch * share.world_size
        for batch in share.deal(_spread(self._counts, self.length(share), whole, random), whole):
            yield np.concatenate([portions[portion] for portion in batch])

    def length(self, share: Share) -> int:
        """See `EpochPlan`."""
        whole = self.groups_per_batch * share.world_size
        fewest = share.fewest(whole)
        # A batch takes at most one portion of a group, so B batches take min(count, B) portions of each.
        few, many = 0, int(self._counts.sum()) // fewest
        while few < many:
            middle = (few + many + 1) // 2
            if np.minimum(self._counts, middle).sum() >= middle * fewest:
                few = middle
            else:
                many = middle - 1
        if share.drop_last:
            return few
        return min(few, max(-(-int(self._counts.sum()) // whole), int(self._counts.max(initial=0))))


def refuse_lonely(samples_per_group: int) -> None:
    """Raise ValueError for fewer than two samples a group."""
    if samples_per_group < 2:
        raise ValueError(f"samples_per_group must be at least 2, or no object has a positive; got {samples_per_group}")


def _portions(sizes: Array, size: int) -> tuple[Array, Array]:
    """How many portions each group has; and where each of them starts, the samples being ordered by group."""
    lonely = (sizes % size == 1) & (sizes > size)
    counts = -(-sizes // size) - (lonely if size == 2 else 0)
    starts = np.repeat(sizes.cumsum() - sizes, counts) + size * _numbers_within(counts)
    if size > 2:
        starts[counts.cumsum()[lonely] - 1] -= 1
    return counts, starts


def _numbers_within(counts: Array) -> Array:
    """For runs of these lengths, the place of each item in its run."""
    return np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)


def _spread(counts: Array, batches: int, whole: int, random: np.random.Generator) -> Iterator[Array]:
    """Batches of at most `whole` portions, no group twice in one; their sizes differ by one at most."""
    if not batches:
        return
    groups = np.repeat(np.arange(len(counts)), counts)
    portions = np.flatnonzero(_numbers_within(counts) < batches)
    portions = random.permutation(portions)[: batches * whole]
    luck = random.permutation(len(counts))
    portions = portions[np.argsort(luck[groups[portions]], kind="stable")]  # group after group, in random order
    # Row by row, each portion of a row in a batch of its own. A group lies in one row, or at the end of one and the
    # start of the next; there it must not meet itself.
    table = np.full((-(-len(portions) // batches), batches), -1)
    for number in range(len(table)):
        row = portions[number * batches : (number + 1) * batches]
        places = random.permutation(batches)
        if number and groups[row[0]] == (last := groups[portions[number * batches - 1]]):
            again = np.count_nonzero(groups[row] == last)
            taken = groups[table[number - 1, places]] == last
            free, rest = np.split(places[~taken], [again])
            places = np.concatenate([free, random.permutation(np.concatenate([rest, places[taken]]))])
        table[number, places[: len(row)]] = row
    for batch in np.ascontiguousarray(table.T):
        yield batch[batch >= 0]
