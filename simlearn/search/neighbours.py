"""What a search gives and takes besides embeddings: its result, and the order of ids."""

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
