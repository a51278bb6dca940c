"""Lists end to end in one tensor, against Python's own lists."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simlearn.ragged import Ragged, entries, sums

LISTS = st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=6)


def lists_of(ragged: Ragged) -> list[list[int]]:
    return [part.tolist() for part in torch.split(ragged.values, ragged.lengths.tolist())]


@given(LISTS, st.data())
def test_they_are_lists(lists: list[list[int]], data: st.DataObject) -> None:
    ragged = Ragged.from_lists(lists)
    assert len(ragged) == len(lists) and lists_of(ragged) == lists
    owners, places = entries(ragged.lengths, len(ragged.values))
    assert list(zip(owners.tolist(), places.tolist(), strict=True)) == [
        (owner, place) for owner, one in enumerate(lists) for place in range(len(one))
    ]
    assert ragged.owners().tolist() == owners.tolist()
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=5))
    at = torch.tensor(rows, dtype=torch.long)
    assert lists_of(ragged.take(at)) == [lists[row] for row in rows]
    assert (10 * ragged.values)[ragged.positions(at)].tolist() == [10 * value for row in rows for value in lists[row]]
    start = data.draw(st.integers(0, len(lists)))
    stop = data.draw(st.integers(start, len(lists)))
    assert lists_of(ragged.cut(slice(start, stop))) == lists[start:stop]
    assert lists_of(Ragged.concatenate([ragged, ragged.take(at)])) == [*lists, *(lists[row] for row in rows)]
    assert sums(ragged.values, owners, len(lists)).tolist() == [sum(one) for one in lists]


def test_values_may_have_any_shape() -> None:
    ragged = Ragged.of_lengths(torch.arange(6).view(3, 2), [1, 0, 2])
    assert ragged.take(torch.tensor([2, 0])).values.tolist() == [[2, 3], [4, 5], [0, 1]]


def test_offsets_and_values_will_do() -> None:
    ragged = Ragged.from_lists([[1], [2, 3]])
    assert Ragged.of(ragged) is ragged
    assert lists_of(Ragged.of((ragged.offsets, ragged.values))) == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("offsets", "values", "message"),
    [
        ([0, 1], [0], r"offsets of shape \(3,\) for 2 queries, got \(2,\)"),
        ([1, 1, 1], [0], "must ascend from 0"),
        ([0, 2, 1], [0], "must ascend from 0"),
        ([0, 1, 1], [0, 1], "must ascend from 0 to its number of rows, 2"),
        ([0, 1, 1], [-1], "names row -1"),
        ([0, 1, 1], [7], "names row 7, but there are 5 documents"),
    ],
)
def test_what_are_no_rows_is_refused(offsets: list[int], values: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ragged(torch.tensor(offsets), torch.tensor(values)).check_rows("exclude_rows", 2, 5)
