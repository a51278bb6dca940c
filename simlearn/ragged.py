"""Lists of any length, end to end in one tensor: labels of objects, candidates of queries, tokens of texts.

Of N lists with L entries in all, list i has the entries `offsets[i]` to `offsets[i + 1]`. Everything else follows from
two questions: to which list an entry belongs, and which place it has there (`entries`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings


class Entries(NamedTuple):
    """What is known of each of L entries of N lists.

    Args:
        owners: (L,) int64, to which list it belongs, ascending.
        places: (L,) int64, its place in that list, from 0.
    """

    owners: Tensor
    places: Tensor


def entries(lengths: Tensor, total: int | None = None) -> Entries:
    """The entries of lists of these lengths.

    Args:
        lengths: (N,) int64.
        total: their sum L, where it is known: asking for it would make a GPU wait.

    >>> entries(torch.tensor([2, 0, 1]))
    Entries(owners=tensor([0, 0, 2]), places=tensor([0, 1, 0]))
    """
    lists = torch.arange(len(lengths), device=lengths.device)
    owners = torch.repeat_interleave(lists, lengths, output_size=total)
    places = torch.arange(len(owners), device=lengths.device) - (lengths.cumsum(0) - lengths)[owners]
    return Entries(owners, places)


def offsets_of(lengths: Tensor) -> Tensor:
    """(N + 1,) int64: where lists of these lengths (N,) begin, and the last one ends."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def positions(starts: Tensor, lengths: Tensor) -> Tensor:
    """(L,) int64: where the entries of N lists are that begin at `starts` (N,) and have `lengths` (N,)."""
    owners, places = entries(lengths)
    return starts[owners] + places


def sums(values: Tensor, owners: Tensor, count: int) -> Tensor:
    """(count,): the values (L,) summed up for each list, 0 for an empty one."""
    return values.new_zeros(count).index_add(0, owners, values)


@dataclass(frozen=True, eq=False)
class Ragged:
    """N lists of any length.

    Args:
        offsets: (N + 1,) int64, from 0 to L: list i is `values[offsets[i] : offsets[i + 1]]`.
        values: (L,) or (L, ...).
    """

    offsets: Tensor
    values: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, lists: Ragged | tuple[Tensor, Tensor]) -> Ragged:
        """These lists, which may be given as their offsets and values."""
        return lists if isinstance(lists, Ragged) else cls(*lists)

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[float]], dtype: torch.dtype = torch.long) -> Ragged:
        """From Python's lists.

        >>> Ragged.from_lists([[3], [], [0, 2]]).offsets
        tensor([0, 1, 1, 3])
        """
        values = torch.tensor([value for one in lists for value in one], dtype=dtype)
        return cls.of_lengths(values, [len(one) for one in lists])

    @classmethod
    def of_lengths(cls, values: Tensor, lengths: Tensor | Sequence[int]) -> Ragged:
        """From the values of all lists and how many each of them has."""
        return cls(offsets_of(torch.as_tensor(lengths, dtype=torch.long)), values)

    @property
    def lengths(self) -> Tensor:
        """(N,) int64."""
        return self.offsets.diff()

    def owners(self) -> Tensor:
        """(L,) int64: to which list each value belongs."""
        return entries(self.lengths, len(self.values)).owners

    def positions(self, rows: Tensor) -> Tensor:
        """(L',) int64: where the values of the lists at `rows` (n,) are, for tensors that are parallel to `values`."""
        return positions(self.offsets[rows], self.lengths[rows])

    def take(self, rows: Tensor) -> Ragged:
        """The lists at `rows` (n,), in that order."""
        return Ragged(offsets_of(self.lengths[rows]), self.values[self.positions(rows)])

    def cut(self, rows: slice) -> Ragged:
        """Some lists in a row, whose values are not copied."""
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Ragged(offsets - offsets[0], self.values[int(offsets[0]) : int(offsets[-1])])

    @staticmethod
    def concatenate(parts: Sequence[Ragged]) -> Ragged:
        """The lists of one part after the other; at least one."""
        lengths = torch.cat([part.lengths for part in parts])
        return Ragged.of_lengths(torch.cat([part.values for part in parts]), lengths)

    def check_rows(self, name: str, n_lists: int, n_rows: int | None = None) -> None:
        """Refuse what are not lists of row numbers.

        Args:
            name: what they are, for the message.
            n_lists: how many there must be.
            n_rows: how many rows there are, where it is known.

        Raises:
            ValueError: naming what does not fit.
        """
        if self.offsets.shape != (n_lists + 1,):
            raise ValueError(
                f"{name} needs offsets of shape ({n_lists + 1},) for {n_lists} queries, got {tuple(self.offsets.shape)}"
            )
        if int(self.offsets[0]) or bool((self.lengths < 0).any()) or int(self.offsets[-1]) != len(self.values):
            raise ValueError(f"the offsets of {name} must ascend from 0 to its number of rows, {len(self.values)}")
        if not len(self.values):
            return
        low, high = (int(bound) for bound in self.values.aminmax())
        if low < 0 or (n_rows is not None and high >= n_rows):
            outside = low if low < 0 else high
            raise ValueError(f"{name} names row {outside}, but there are {n_rows} documents")


def flatten(embeddings: Embeddings) -> tuple[Tensor, Tensor | None]:
    """The vectors that count, end to end.

    Returns:
        Values (T, D), and how many of them each object has (N,) int64; None for one vector each.
    """
    values = embeddings.values.detach()
    if not embeddings.is_multi_vector:
        return values, None
    if embeddings.mask is None:
        return values.flatten(0, 1), torch.full((len(values),), values.shape[1], device=values.device)
    return values[embeddings.mask], embeddings.mask.sum(dim=1)


def pad(values: Tensor, starts: Tensor, lengths: Tensor) -> Embeddings:
    """Embeddings of N objects out of the vectors of all.

    Args:
        values: (T, D).
        starts: (N,) int64, where in `values` an object's vectors begin.
        lengths: (N,) int64, how many there are.

    Returns:
        (N, M, D), with a mask where objects differ in their number of vectors, and zeros where it is False.
    """
    count, longest = len(lengths), int(lengths.max()) if len(lengths) else 0
    place = torch.arange(longest, device=lengths.device)
    mask = place < lengths[:, None]
    source = starts[:, None] + place
    if bool(mask.all()):
        return Embeddings(values.index_select(0, source.flatten()).view(count, longest, values.shape[1]))
    padded = values.new_zeros((count * longest, values.shape[1]))
    padded[mask.flatten()] = values.index_select(0, source[mask])
    return Embeddings(padded.view(count, longest, values.shape[1]), mask)
