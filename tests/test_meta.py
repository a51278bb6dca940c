"""Columns of facts beside embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from simlearn.meta import Categories, Meta, columns, concatenate, index_select, to

ROWS = st.lists(st.fixed_dictionaries({"encoder": st.sampled_from("abcd"), "tokens": st.integers(0, 99)}), max_size=6)


def rows_of(meta: Meta) -> list[dict[str, Any]]:
    """One dictionary an object again."""
    values = {}
    for key, column in meta.items():
        if isinstance(column, Categories):
            values[key] = [column.names[code] for code in column.codes.tolist()]
        else:
            values[key] = column.tolist()
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


@given(ROWS)
def test_columns_hold_what_the_rows_say(rows: list[dict[str, Any]]) -> None:
    assert rows_of(columns(rows)) == rows


@given(st.lists(ROWS.filter(bool), min_size=1, max_size=4))
def test_concatenate_is_that_of_the_rows(parts: list[list[dict[str, Any]]]) -> None:
    joined = concatenate([columns(rows) for rows in parts])
    assert rows_of(joined) == [row for rows in parts for row in rows]
    names = joined["encoder"].names  # type: ignore[union-attr]
    assert list(names) == sorted(set(names))


@given(ROWS.filter(bool), st.data())
def test_index_select_takes_rows(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    assert rows_of(index_select(columns(rows), torch.tensor(picked, dtype=torch.long))) == [rows[row] for row in picked]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], torch.int64),
        ([1.5, 2.0], torch.float32),
        ([1, 2.5], torch.float32),
        ([True, False], torch.bool),
        ([np.int32(1), np.int64(2)], torch.int64),
        ([np.float64(1.5), np.float32(2)], torch.float32),
        ([np.bool_(True), False], torch.bool),
    ],
    ids=str,
)
def test_numbers_of_any_kind(values: list[Any], dtype: torch.dtype) -> None:
    column = columns([{"number": value} for value in values])["number"]
    assert isinstance(column, Tensor) and column.dtype is dtype
    assert column.tolist() == values


def test_no_meta() -> None:
    assert columns([]) == columns([{}, {}]) == concatenate([]) == concatenate([{}, {}]) == {}


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"object 1 has the keys \['b'\], that of object 0 \['a'\]"):
        columns([{"a": 1}, {"b": 1}])
    with pytest.raises(ValueError, match="object 1 has the keys"):
        columns([{}, {"b": 1}])
    for values in ([1, "one"], [None, None], [[1], [2]]):
        with pytest.raises(TypeError, match="meta 'a' must hold only numbers or only strings, got"):
            columns([{"a": value} for value in values])


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="different columns"):
        concatenate([columns([{"a": 1}]), columns([{"b": 1}])])
    with pytest.raises(TypeError, match="meta 'a' holds strings in one part and numbers in another"):
        concatenate([columns([{"a": "x"}]), columns([{"a": 1}])])


def test_rename() -> None:
    column = Categories(torch.tensor([1, 0, 1]), ("x", "y", "z"))
    assert column.rename(["y", "w", "x"]).tolist() == [0, 2, 0]
    with pytest.raises(ValueError, match=r"unknown names \['x'\]; known are \['y'\]"):
        column.rename(["y"])
    assert Categories(torch.empty(0, dtype=torch.long), ()).rename(["a"]).tolist() == []
    assert len(column) == 3


def test_to_moves_every_column() -> None:
    moved = to(columns([{"a": 1, "b": "x"}]), "meta")
    assert isinstance(moved["a"], Tensor) and moved["a"].device.type == "meta"
    assert isinstance(moved["b"], Categories) and moved["b"].codes.device.type == "meta"
