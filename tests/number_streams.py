"""Streams of samples, for tests of streams. In a module of its own, so that spawned workers can import them."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import IterableDataset, get_worker_info

from simlearn import SimilarityGroupSample


class Numbers(IterableDataset[SimilarityGroupSample]):
    """Numbers in an order that depends on the epoch; every number is its own group."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[SimilarityGroupSample]:
        return (SimilarityGroupSample(float(number), number) for number in self.order())

    def order(self) -> list[int]:
        return [(number + 7 * self.epoch) % self.size for number in range(self.size)]


class SplitAmongWorkers(Numbers):
    """As most examples of an IterableDataset: each worker gives its own part. `uneven` moves the border."""

    def __init__(self, size: int, uneven: int = 0) -> None:
        super().__init__(size)
        self.uneven = uneven

    def order(self) -> list[int]:
        info = get_worker_info()
        numbers = super().order()
        if info is None:
            return numbers
        border = self.size // info.num_workers + self.uneven
        return numbers[:border] if info.id == 0 else numbers[border:][info.id - 1 :: info.num_workers - 1]


class Parts(Numbers):
    """A stream that every process reads its own part of."""

    def __init__(self, size: int, first: int) -> None:
        super().__init__(size)
        self.first = first

    def order(self) -> list[int]:
        return list(range(self.first, self.first + self.size))


def objects(samples: list[SimilarityGroupSample]) -> list[float]:
    """A collate function: the objects alone."""
    return [sample.obj for sample in samples]
