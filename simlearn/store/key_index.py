"""From content keys to row numbers, without a Python object for each key.

The first 8 bytes of every key are kept sorted beside the row that they belong to, 12 bytes a row. A lookup is a binary
search for those 8 bytes; then the whole key is compared, since two keys may begin alike. New keys become a small sorted
run of their own, and runs of similar size are merged (O'Neil et al. 1996, the log-structured merge tree): there are at
most as many as the table has doubled, and each key is merged as often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from simlearn.store.table import Keys, as_keys

_Words = NDArray[np.uint64]


class KeyIndex:
    """Finds the rows of keys; the keys themselves stay with the table, in memory or memory-mapped."""

    def __init__(self) -> None:
        self._keys: _Words = np.empty((0, 2), np.uint64)
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return len(self._keys)

    def grow(self, keys: NDArray[np.uint8]) -> None:
        """Know the keys of more rows.

        Args:
            keys: (rows, 16), those of all rows: the first ones are what they were. The array is kept, not copied.

        Raises:
            ValueError: for fewer keys than before.
        """
        start, words = len(self), as_keys(keys).view(np.uint64)
        if len(words) < start:
            raise ValueError(f"the index knows {start} keys, it cannot shrink to {len(words)}")
        self._keys = words
        if len(words) == start:
            return
        self._runs.append(_Run.of(words[start:, 0], start))
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs.append(self._runs.pop().merged(last))

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The rows (n,) of n keys, -1 for those that are absent."""
        words = as_keys(keys).view(np.uint64)
        found = np.full(len(words), -1, np.int64)
        for run in self._runs:
            wanted = np.flatnonzero(found < 0)
            if not len(wanted):
                break
            found[wanted] = run.find(words[wanted], self._keys)
        return found

    def rows(self, keys: Keys) -> Tensor:
        """The rows (n,) int64 of n keys.

        Raises:
            KeyError: for a key that is absent.
        """
        return all_found(from_numpy(self.find(keys)))

    def missing(self, keys: Keys) -> NDArray[np.int64]:
        """Positions, ascending, of the keys that are absent; of a key that is there several times, the first."""
        keys = as_keys(keys)
        absent = np.flatnonzero(self.find(keys) < 0)
        return absent[_first_occurrences(keys[absent].view(np.uint64))]


@dataclass(frozen=True)
class _Run:
    """The beginnings of some keys, ascending, and their rows."""

    prefixes: _Words
    rows: NDArray[np.int32] | NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.prefixes)

    @staticmethod
    def of(prefixes: _Words, start: int) -> _Run:
        """The run of consecutive rows from `start` on."""
        order = np.argsort(prefixes)
        small = start + len(order) <= np.iinfo(np.int32).max
        return _Run(prefixes[order], (order + start).astype(np.int32 if small else np.int64))

    def merged(self, other: _Run) -> _Run:
        """One run of both."""
        place = np.searchsorted(self.prefixes, other.prefixes, side="right") + np.arange(len(other))
        free = np.ones(len(self) + len(other), bool)
        free[place] = False
        prefixes = np.empty(len(free), np.uint64)
        rows = np.empty(len(free), np.result_type(self.rows, other.rows))
        prefixes[place], rows[place] = other.prefixes, other.rows
        prefixes[free], rows[free] = self.prefixes, self.rows
        return _Run(prefixes, rows)

    def find(self, wanted: _Words, keys: _Words) -> NDArray[np.int64]:
        """Rows (n,) of the keys `wanted` (n, 2), -1 where this run lacks them; `keys` are those of all rows."""
        found = np.full(len(wanted), -1, np.int64)
        # In order, or each search would start with a cold cache: four times as fast for a million.
        order = np.argsort(wanted[:, 0])
        place = np.empty(len(wanted), np.int64)
        place[order] = np.searchsorted(self.prefixes, wanted[order, 0])
        open_ = np.arange(len(wanted))
        while True:  # once, but for keys that begin alike
            open_ = open_[place[open_] < len(self)]
            open_ = open_[self.prefixes[place[open_]] == wanted[open_, 0]]
            if not len(open_):
                return found
            rows = self.rows[place[open_]]
            same = keys[rows, 1] == wanted[open_, 1]
            found[open_[same]] = rows[same]
            open_ = open_[~same]
            place[open_] += 1


def all_found(rows: Tensor) -> Tensor:
    """The rows (n,) of n keys; raises KeyError where one is -1, of a key that is absent."""
    if len(absent := (rows < 0).nonzero()[:, 0]):
        raise KeyError(f"{len(absent)} of {len(rows)} keys are not in the table, the first at {int(absent[0])}")
    return rows


def _first_occurrences(words: _Words) -> NDArray[np.int64]:
    """Positions, ascending, of the first of equal rows of `words` (n, 2)."""
    order = np.lexsort((words[:, 1], words[:, 0]))
    ordered = words[order]
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(order[first])
