"""How often each document is drawn into a batch: counted, told, or estimated while a stream goes by."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.data.object_ids import ids_of_names
from simlearn.hashing.mixing import mixed
from simlearn.ragged import entries, sums

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
    def of_column(cls, ids: Tensor, counts: Tensor) -> KnownLogQ:
        """Of the ids (L,) of the documents of all samples, with repetitions, and what each row tells of them (L,).

        Raises:
            ValueError: for another number of counts, and where rows tell different things of one document.
        """
        if len(ids) != len(counts):
            raise ValueError(f"document_log_q tells of {len(counts)} documents, and the data has {len(ids)}")
        distinct, of = torch.unique(ids, return_inverse=True)
        first = counts.new_zeros(len(distinct)).scatter_(0, of, counts)
        if not torch.equal(first[of], counts):
            raise ValueError(
                "document_log_q tells different things of one document; give each the same in all its rows"
            )
        return cls(distinct, first)

    @classmethod
    def of_counts(cls, counts: Mapping[Hashable, float]) -> KnownLogQ:
        """Of counts or probabilities by the documents' names, as the loader's `obj_b_id` gives them."""
        ids = ids_of_names(counts, "document_log_q")
        return cls(ids, torch.tensor(list(counts.values()), dtype=torch.float64))

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of M documents.

        Raises:
            ValueError: for documents that were never counted.
        """
        place = torch.searchsorted(self._ids, ids).clamp(max=len(self._ids) - 1)
        if missing := int((self._ids[place] != ids).sum()):
            raise ValueError(
                f"document_log_q tells nothing of {missing} of the {len(ids)} documents of a batch; give the count or "
                "probability of every document, under the names that the loader's ids give them, or 'count'; objects "
                "whose content has no key need such names"
            )
        return self._log_q[place]


class StreamedLogQ:
    """Probabilities of documents that are counted while they go by, in bounded memory (count-min sketch).

    Each of `depth` rows counts every document in one of `width` buckets; the smallest count of a document's buckets is
    at least its own, and seldom much more (Cormode & Muthukrishnan 2005). Counting starts anew in each worker and each
    epoch, and sees the documents that this worker reads: those of the first batches are told roughly, and with another
    number of workers somewhat otherwise.

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
        self._counts = torch.zeros(depth, width, dtype=torch.long)  # fp32 counts no further than 2^24
        self._total = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of M documents, which are counted first."""
        buckets = torch.stack([_bucket(ids, row, self.width) for row in range(self.depth)])
        self._counts.scatter_add_(1, buckets, torch.ones_like(buckets))
        self._total += len(ids)
        counts = self._counts.gather(1, buckets).amin(0)
        return (counts.double().log() - math.log(max(1, self._total))).float()


class IntervalLogQ:
    """Probabilities of documents by how many others come between two of their appearances (Yi et al. 2019).

    For each bucket of documents it keeps the place of the last appearance in the stream, and a moving average of the
    intervals; a document that appears every B documents has the probability 1 / B. The paper counts intervals in steps,
    of which a document cannot appear in more than every one; here each document of a batch is a step of its own. Of
    several rows of buckets the longest interval counts, as documents that share a bucket shorten each other's. It
    follows a distribution that changes. Like `StreamedLogQ` it starts anew in each worker and each epoch.

    Args:
        width: buckets of a row: some times as many as there are documents.
        depth: rows.
        rate: of the moving average, in (0, 1]: a smaller one is steadier and follows more slowly.

    Raises:
        ValueError: for a width or depth below 1 and a rate out of range.
    """

    def __init__(self, width: int = 2**18, depth: int = 4, rate: float = 0.05) -> None:
        if width < 1 or depth < 1 or not 0 < rate <= 1:
            raise ValueError(f"width and depth must be at least 1 and rate in (0, 1], got {width}, {depth} and {rate}")
        self.width, self.depth, self.rate = width, depth, rate
        self._last = torch.zeros(depth * width, dtype=torch.long)
        self._interval = torch.zeros(depth * width)
        self._seen = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """(M,) float32 of M documents, whose intervals are brought up to date first."""
        buckets = torch.stack([_bucket(ids, row, self.width) + row * self.width for row in range(self.depth)])
        places = (torch.arange(1, len(ids) + 1) + self._seen).expand_as(buckets)
        self._seen += len(ids)
        self._follow(buckets.flatten(), places.flatten())
        return -self._interval[buckets].amax(0).log()

    def _follow(self, buckets: Tensor, places: Tensor) -> None:
        """Add appearances of buckets, those of each at ascending places, to the moving averages."""
        buckets, order = buckets.sort(stable=True)
        seen, counts = torch.unique_consecutive(buckets, return_counts=True)
        owners, turns = entries(counts)
        places = places[order]
        passed = places - torch.where(turns == 0, self._last[buckets], places.roll(1))
        before, kept = self._interval[seen], 1 - self.rate
        # The first interval of all is the average so far; each later one is mixed in, and fades with those behind it.
        share = torch.where((turns == 0) & (before == 0)[owners], 1.0, self.rate)
        fading = share * kept ** (counts[owners] - 1 - turns)
        self._interval[seen] = before * kept**counts + sums(passed * fading, owners, len(seen))
        self._last[seen] = places[counts.cumsum(0) - 1]


def _bucket(ids: Tensor, row: int, width: int) -> Tensor:
    """The bucket of each id, another one in each row."""
    return mixed(ids, row + 1) % width
