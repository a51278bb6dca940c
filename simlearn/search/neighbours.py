"""What a search gives and takes besides embeddings: its result, ragged lists of rows, the order of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Neighbours(NamedTuple):
    """The k best documents of each of N queries, best first.

    Args:
        scores: (N, k) float32, descending; -inf where a query has fewer than k documents.
        indices: (N, k) int64 rows of the documents; -1 where a query has fewer than k documents.
    """

    scores: Tensor
    indices: Tensor

    def cut(self, k: int) -> Neighbours:
        """The first k of each query."""
        return Neighbours(self.scores[:, :k], self.indices[:, :k])


class Ragged(NamedTuple):
    """For each of N queries a list of documents, of any length.

    Args:
        offsets: (N + 1,) int64: query i has `rows[offsets[i] : offsets[i + 1]]`.
        rows: (J,) int64 rows of documents.
    """

    offsets: Tensor
    rows: Tensor

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        """From a list of rows for each query.

        >>> Ragged.from_lists([[3], [], [0, 2]]).offsets
        tensor([0, 1, 1, 3])
        """
        lengths = torch.tensor([len(one) for one in lists], dtype=torch.long)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return cls(offsets, torch.tensor([row for one in lists for row in one], dtype=torch.long))

    def owners(self) -> Tensor:
        """(J,) int64: to which query each entry belongs."""
        queries = torch.arange(len(self.offsets) - 1, device=self.offsets.device)
        return torch.repeat_interleave(queries, self.offsets.diff())

    def check(self, name: str, n_queries: int, n_documents: int | None = None) -> None:
        """Refuse lists that are not for `n_queries` queries or, where it is known, `n_documents` documents.

        Raises:
            ValueError: naming what does not fit.
        """
        if self.offsets.shape != (n_queries + 1,):
            raise ValueError(
                f"{name} needs offsets of shape ({n_queries + 1},) for {n_queries} queries, got "
                f"{tuple(self.offsets.shape)}"
            )
        if int(self.offsets[0]) or bool((self.offsets.diff() < 0).any()) or int(self.offsets[-1]) != len(self.rows):
            raise ValueError(f"the offsets of {name} must ascend from 0 to its number of rows, {len(self.rows)}")
        if not len(self.rows):
            return
        low, high = (int(bound) for bound in self.rows.aminmax())
        if low < 0 or (n_documents is not None and high >= n_documents):
            outside = low if low < 0 else high
            raise ValueError(f"{name} names row {outside}, but there are {n_documents} documents")


def id_ranks(ids: Sequence[str]) -> Tensor:
    """The rank (M,) int64 of each id among all when sorted as strings; what breaks ties as trec_eval does.

    Python sorts strings by code point, which is the order of their UTF-8 bytes and so that of trec_eval's `strcmp`.

    Raises:
        ValueError: when an id appears twice.

    >>> id_ranks(["d2", "d10", "d1"])
    tensor([2, 1, 0])
    """
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise ValueError(f"the id {twice!r} appears more than once; documents need ids of their own")
    ranks = torch.empty(len(ids), dtype=torch.long)
    ranks[torch.tensor(sorted(range(len(ids)), key=ids.__getitem__), dtype=torch.long)] = torch.arange(len(ids))
    return ranks
