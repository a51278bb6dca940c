"""How often each document is drawn into a batch: counted, told, or estimated while a stream goes by."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.data.object_ids import ids_of_names

LogQSource: TypeAlias = "Callable[[Tensor], Tensor]"
"""From the ids of M documents (M,) int64 to the logarithms of their probabilities (M,) float32."""


class KnownLogQ:
    """Probabilities of documents that were counted once.

    Args:
        ids: (K,) int64, distinct.
        counts: (K,) how often each is drawn, in any unit, above 0.

    Raises:
        ValueError: for counts that are not finite numbers above 0.
    """

    def __init__(self, ids: Tensor, counts: Tensor) -> None:
        counts = counts.double()
        if not bool((counts.isfinite() & (counts > 0)).all()) or not len(counts):
            raise ValueError("how often documents are drawn must be told by finite numbers above 0; leave others out")
        self._ids, order = ids.sort()
        self._log_q = (counts[order].log() - counts.sum().log()).float()

    @classmethod
    def of_ids(cls, ids: Tensor) -> KnownLogQ:
        """Of the ids (L,) of the documents of all samples, with repetitions."""
        return cls(*torch.unique(ids, return_counts=True))

    @classmethod
    def of_counts(cls, counts: Mapping[Hashable, float]) -> KnownLogQ:
        """Of counts or probabilities by the documents' names, as the loader's `obj_b_id` gives them."""
        ids = ids_of_names(counts, "document_log_q")
        return cls(ids, torch.tensor(list(counts.values()), dtype=torch.float64))

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of M documents; one that was never counted is as rare as the rarest."""
        place = torch.searchsorted(self._ids, ids).clamp(max=len(self._ids) - 1)
        return torch.where(self._ids[place] == ids, self._log_q[place], self._log_q.min())


class StreamedLogQ:
    """Probabilities of documents that are counted while they go by, in bounded memory (count-min sketch).

    Each of `depth` rows counts every document in one of `width` buckets; the smallest count of a document's buckets is
    at least its own, and seldom much more (Cormode & Muthukrishnan 2005). Counting starts anew in each worker and each
    epoch, and sees the documents that this worker reads: those of the first batches are told roughly.

    Args:
        width: buckets of a row: some times as many as there are frequent documents.
        depth: rows.

    Raises:
        ValueError: for numbers below 1.
    """

    def __init__(self, width: int = 2**18, depth: int = 4) -> None:
        if width < 1 or depth < 1:
            raise ValueError(f"width and depth must be at least 1, got {width} and {depth}")
        self.width, self.depth = width, depth
        self._counts = torch.zeros(depth, width)
        self._total = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of M documents, which are counted first."""
        buckets = torch.stack([_bucket(ids, row, self.width) for row in range(self.depth)])
        self._counts.scatter_add_(1, buckets, torch.ones(buckets.shape))
        self._total += len(ids)
        return self._counts.gather(1, buckets).amin(0).log() - math.log(max(1, self._total))


class IntervalLogQ:
    """Probabilities of documents by the number of batches between two of their appearances (Yi et al. 2019).

    Two arrays hold, for each bucket of documents, the step of the last appearance and a moving average of the
    intervals; a document that appears every B steps has the probability 1 / (B M) of being one of the M documents of a
    step. It follows a distribution that changes. Like `StreamedLogQ` it starts anew in each worker and each epoch.

    Args:
        width: buckets.
        rate: of the moving average, in (0, 1].

    Raises:
        ValueError: for a width below 1 and a rate out of range.
    """

    def __init__(self, width: int = 2**20, rate: float = 0.05) -> None:
        if width < 1 or not 0 < rate <= 1:
            raise ValueError(f"width must be at least 1 and rate in (0, 1], got {width} and {rate}")
        self.width, self.rate = width, rate
        self._last = torch.zeros(width)
        self._interval = torch.zeros(width)
        self._step = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of the M documents of a step, whose intervals are brought up to date first."""
        self._step += 1
        seen = torch.unique(_bucket(ids, 0, self.width))
        passed = self._step - self._last[seen]
        known = self._interval[seen]
        self._interval[seen] = torch.where(known > 0, known + self.rate * (passed - known), passed)
        self._last[seen] = float(self._step)
        return -self._interval[_bucket(ids, 0, self.width)].log() - math.log(max(1, len(ids)))


def _bucket(ids: Tensor, row: int, width: int) -> Tensor:
    """The bucket of each id: one of its bits mixed (splitmix64), differently for each row."""
    step = ((row + 1) * 0x9E3779B97F4A7C15 + 2**63) % 2**64 - 2**63
    mixed = ids + step
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        mixed = (mixed ^ ((mixed >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return (mixed ^ ((mixed >> 31) & ((1 << 33) - 1))) % width
