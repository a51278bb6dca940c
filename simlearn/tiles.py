"""The one planner of tiles: in what pieces a matrix of scores is computed that is too large to be kept.

A tile is some rows against some columns. What a pair of them costs, in bytes, is the caller's to say: a scorer tells
how many floats it holds for one (`Scorer.cells`), whoever asks it knows how many matrices of that size it makes
besides. The shape follows from a fixed budget, not from the memory that happens to be free, so that runs repeat.

Tiles are tall: all rows as long as a tile is not narrower than it should be. The rows are then prepared and packed once
for each few columns, and products are at full speed; of 2,000 rows and 100,000 columns tiles of 2,000 x 1,024 take half
the time of 64 x 16,384.
"""

from __future__ import annotations

from typing import NamedTuple

NARROWEST = 1024
"""Columns of a tile: narrower ones make more of the products, which are slower then."""


class TileShape(NamedTuple):
    """So many rows against so many columns, each at least 1."""

    rows: int
    columns: int


def tile_shape(
    n_rows: int, n_columns: int, pair_bytes: int, budget: int, *, narrowest: int = NARROWEST, multiple: int = 1
) -> TileShape:
    """The shape of the tiles of a matrix.

    Args:
        n_rows: of the whole matrix.
        n_columns: of the whole matrix.
        pair_bytes: what one row and one column cost.
        budget: bytes of a tile; exceeded only by a single pair that costs more.
        narrowest: columns are cut to so many, and only then rows. `n_columns` keeps rows whole where the budget allows.
        multiple: columns are a multiple of it, where there are that many.

    >>> tile_shape(2000, 100_000, 4, 8 * 2**20)
    TileShape(rows=2000, columns=1048)
    >>> tile_shape(100_000, 100_000, 4, 8 * 2**20)
    TileShape(rows=2048, columns=1024)
    >>> tile_shape(8192, 8192, 4, 8 * 2**20, narrowest=8192)
    TileShape(rows=256, columns=8192)
    """
    pairs = max(1, budget // max(1, pair_bytes))
    columns = max(1, min(max(pairs // max(1, n_rows), narrowest), pairs, n_columns))
    if columns > multiple:
        columns -= columns % multiple
    return TileShape(max(1, min(n_rows, pairs // columns)), columns)


def cuts(start: int, stop: int, step: int) -> list[slice]:
    """The slices of at most `step` from `start` to `stop`; an empty one where there is nothing to cut.

    >>> cuts(2, 7, 3)
    [slice(2, 5, None), slice(5, 7, None)]
    """
    return [slice(first, min(first + step, stop)) for first in range(start, max(stop, start + 1), step)]
