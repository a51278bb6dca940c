"""How the batches of an epoch are dealt out to processes.

A *global* batch is what all processes together see in one step: W times the batch size of one of them. It is the same
whether one process reads it or W do; here it is cut into their shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")

Parts = TypeVar("Parts", bound="Any")
"""A list or an array, which can be sliced: the parts of a global batch, be they samples, groups or batches."""


@dataclass(frozen=True)
class Share:
    """What one process gets.

    Args:
        rank: the number of the process, from 0.
        world_size: W, the number of processes.
        training: whether every process needs something of every global batch: they wait for each other's gradients, so
            one with a batch more than the others would wait for ever.
        drop_last: whether a global batch that is not full is left out.
    """

    rank: int = 0
    world_size: int = 1
    training: bool = False
    drop_last: bool = False

    def fewest(self, whole: int) -> int:
        """The fewest parts that a global batch may have which has `whole` parts when it is full."""
        if self.drop_last:
            return whole
        return self.world_size if self.training else 1

    def count(self, parts: int, whole: int) -> int:
        """How many global batches of `whole` parts there are in `parts`."""
        full, rest = divmod(parts, whole)
        return full + (rest >= self.fewest(whole))

    def of(self, batch: Parts) -> Parts:
        """This process's parts of a global batch, split as evenly as it goes; may be none."""
        size, more = divmod(len(batch), self.world_size)
        start = self.rank * size + min(self.rank, more)
        own: Parts = batch[start : start + size + (self.rank < more)]
        return own

    def deal(self, batches: Iterable[Parts], whole: int) -> Iterator[Parts]:
        """This process's parts of each global batch, of those that are large enough."""
        for batch in batches:
            if len(batch) >= self.fewest(whole) and len(own := self.of(batch)):
                yield own


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Runs of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
