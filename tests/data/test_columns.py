"""Labels as columns."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.data.columns import Columns, concatenate, join, take
from simlearn.ragged import Ragged

LISTS = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=12)


def rows_of(column: Ragged) -> list[list[int]]:
    bounds = column.offsets.tolist()
    return [column.values[start:end].tolist() for start, end in pairwise(bounds)]


@given(LISTS, st.data())
@settings(deadline=None)
def test_taking_rows(lists: list[list[int]], data: st.DataObject) -> None:
    column = Ragged.from_lists(lists, torch.long)
    assert len(column) == len(lists)
    assert rows_of(column) == lists
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=20)) if lists else []
    assert rows_of(column.take(torch.tensor(rows, dtype=torch.long))) == [lists[row] for row in rows]


@given(st.lists(LISTS, min_size=1, max_size=4))
@settings(deadline=None)
def test_joining_columns(parts: list[list[list[int]]]) -> None:
    joined = join([Ragged.from_lists(part, torch.long) for part in parts])
    assert isinstance(joined, Ragged)
    assert rows_of(joined) == [row for part in parts for row in part]


def test_samples_of_all_columns() -> None:
    def columns(first: int) -> Columns:
        return {
            "numbers": torch.tensor([first, first + 1]),
            "lists": Ragged.from_lists([[first], [first, first]], torch.long),
        }

    both = take(concatenate([columns(1), columns(5)]), torch.tensor([3, 0]))
    assert isinstance(both["numbers"], torch.Tensor)
    assert isinstance(both["lists"], Ragged)
    assert both["numbers"].tolist() == [6, 1]
    assert rows_of(both["lists"]) == [[5, 5], [1]]


def test_values_of_more_dimensions_and_counts() -> None:
    column = Ragged.of_lengths(torch.arange(6).view(3, 2), [1, 0, 2])
    assert column.take(torch.tensor([2, 1])).values.tolist() == [[2, 3], [4, 5]]
