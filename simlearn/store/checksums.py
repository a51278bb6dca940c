"""A checksum for each row: over its key, its vectors, how many they are, and its meta.

It is a sum of the row's words, each times an odd coefficient of its own, modulo 2^64 (multilinear hashing, Lemire and
Kaser 2014). A change within one word is always found, since an odd factor loses nothing; changes of several words, or a
row that moved, but for chances of about 2^-32. It guards against broken disks and files, not against forgery.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Checksums = NDArray[np.uint64]

_KEY, _LENGTH, _POSITION, _VECTOR, _META = range(5)
_ROW = np.uint64(0x9E3779B97F4A7C15)
"""Of a row of nothing but zeros: what a disk gives back for a block that it never wrote is no valid row."""


def checksums(
    keys: NDArray[np.uint8], values: NDArray[Any], lengths: NDArray[np.int64] | None, meta: Iterable[NDArray[Any]]
) -> Checksums:
    """The checksums (n,) of n rows.

    Args:
        keys: (n, 16).
        values: (T, D), the vectors of all rows.
        lengths: (n,), how many of the vectors each row has; None for one each.
        meta: columns (n,) of numbers.
    """
    total = np.full(len(keys), _ROW) + _dot(keys, _KEY)
    vectors = _dot(values, _VECTOR)
    total += vectors if lengths is None else _sums(vectors, lengths)
    for number, column in enumerate(meta):
        total += _dot(column[:, None], _META + number)
    return total


def _sums(vectors: Checksums, lengths: NDArray[np.int64]) -> Checksums:
    """The sums (n,) over the vectors of each row, which count by their place in it; and over their number."""
    ends = lengths.cumsum()
    places = np.arange(len(vectors)) - np.repeat(ends - lengths, lengths)
    longest = int(lengths.max(initial=0))
    running = np.zeros(len(vectors) + 1, np.uint64)
    np.cumsum(vectors * _coefficients(_POSITION, longest)[places], out=running[1:])
    sums: Checksums = running[ends] - running[ends - lengths] + _dot(lengths[:, None], _LENGTH)
    return sums


def _dot(rows: NDArray[Any], stream: int) -> Checksums:
    """Words times coefficients, summed over each row.

    Words of at most 32 bits: of 64, the highest bit would only reach the highest bit of the sum, whatever its
    coefficient, and two such changes would cancel.
    """
    width = rows.shape[1] * rows.dtype.itemsize
    size = next(size for size in (4, 2, 1) if width % size == 0)
    flat = np.ascontiguousarray(rows).reshape(-1).view(np.dtype(f"u{size}"))
    words = flat.reshape(len(rows), width // size)
    summed: Checksums = np.einsum("ij,j->i", words, _coefficients(stream, words.shape[1]), dtype=np.uint64)
    return summed


def _coefficients(stream: int, count: int) -> Checksums:
    """`count` odd numbers that every version of simlearn agrees on."""
    return _table(stream, 1 << max(count - 1, 0).bit_length())[:count]


@lru_cache(maxsize=64)
def _table(stream: int, count: int) -> Checksums:
    """The first numbers of a SplitMix64 generator (Steele et al. 2014)."""
    state = np.arange(1, count + 1, dtype=np.uint64) + (np.uint64(stream) << np.uint64(32))
    state *= np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    coefficients: Checksums = (state ^ (state >> np.uint64(31))) | np.uint64(1)
    return coefficients
