"""Vectors under content keys."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.meta import Categories, columns
from simlearn.store import VectorTable


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def vector(number: int) -> list[float]:
    return [float(number), 0.5]


@given(st.lists(st.lists(st.integers(0, 20), max_size=8), max_size=8))
@settings(deadline=None)
def test_each_key_keeps_its_vector_and_its_meta(chunks: list[list[int]]) -> None:
    table, known = VectorTable(), []
    for numbers in chunks:
        rows, new = table.claim([key(number) for number in numbers])
        added = [numbers[position] for position in new]
        assert added == list(dict.fromkeys(number for number in numbers if number not in known))
        known += added
        assert [known[row] for row in rows.tolist()] == numbers
        if added:
            meta = columns([{"name": str(number % 3), "number": number} for number in added])
            table.extend(torch.tensor([vector(number) for number in added]), meta)
        assert len(table) == len(known)
        if known:
            vectors, meta = table.take(rows, "cpu")
            assert vectors.tolist() == [vector(number) for number in numbers]
            assert meta["number"].tolist() == numbers  # type: ignore[union-attr]
            names = meta["name"]
            assert isinstance(names, Categories)
            assert [names.names[code] for code in names.codes] == [str(number % 3) for number in numbers]
            assert torch.equal(table.rows([key(number) for number in numbers]), rows)


def filled() -> VectorTable:
    table = VectorTable()
    table.claim([key(1), key(2)])
    table.extend(torch.tensor([vector(1), vector(2)]), {})
    return table


def test_an_unknown_key_raises() -> None:
    with pytest.raises(KeyError):
        filled().rows([key(1), key(3)])


def test_an_empty_table_says_so() -> None:
    table = VectorTable()
    assert len(table) == 0 and table.meta == {}
    with pytest.raises(ValueError, match="the table is empty"):
        _ = table.vectors


def test_only_what_is_owed_can_be_paid() -> None:
    table = filled()
    with pytest.raises(ValueError, match="owed are 0 of length 2; claim their keys first"):
        table.extend(torch.ones(1, 2), {})
    table.claim([key(3)])
    with pytest.raises(ValueError, match=r"shape \(1, 3\), owed are 1 of length 2"):
        table.extend(torch.ones(1, 3), {})
    table.extend(torch.ones(0, 2), {})
    table.extend(torch.ones(1, 2), {})
    assert len(table) == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_dtype_of_the_encoder_is_kept(dtype: torch.dtype) -> None:
    table = VectorTable("cpu")
    table.claim([key(1)])
    table.extend(torch.ones(1, 2, dtype=dtype, requires_grad=True), {})
    assert table.vectors.dtype is dtype and not table.vectors.requires_grad


def test_vectors_made_in_inference_mode_can_be_trained_on() -> None:
    table = VectorTable()
    for size in (4, 1):  # the second time there is room for one more
        table.claim([key(len(table) + number) for number in range(size)])
        with torch.inference_mode():
            table.extend(torch.ones(size, 2), columns([{"tokens": 1}] * size))
    table.claim([key(9)])
    table.extend(torch.ones(1, 2), columns([{"tokens": 1}]))
    weight = torch.ones(2, requires_grad=True)
    vectors, meta = table.take(torch.tensor([0, 5]), "cpu")
    ((vectors * weight).sum() * meta["tokens"].sum()).backward()  # type: ignore[union-attr]
    assert weight.grad is not None and weight.grad.tolist() == [4.0, 4.0]
