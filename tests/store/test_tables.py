"""What both tables do, told apart by nothing but where they keep it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.embeddings import Embeddings
from simlearn.meta import Categories, Meta, columns
from simlearn.store import DiskTable, Table, VectorTable

folders = itertools.count()
ROOT = tempfile.TemporaryDirectory()


def disk() -> DiskTable:
    return DiskTable(Path(ROOT.name) / str(next(folders)), description={})


MAKERS: dict[str, Callable[[], Table]] = {"memory": VectorTable, "disk": disk}
both = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def one(numbers: list[int]) -> Embeddings:
    return Embeddings(torch.tensor([[float(number), 0.5] for number in numbers]).view(len(numbers), 2))


def many(numbers: list[int]) -> Embeddings:
    """`number % 4` vectors for each, between others that do not count."""
    values = torch.full((len(numbers), 5, 2), torch.nan)
    mask = torch.zeros(len(numbers), 5, dtype=torch.bool)
    for row, number in enumerate(numbers):
        mask[row, 1 : 1 + number % 4] = True
        values[row, 1 : 1 + number % 4] = float(number)
    return Embeddings(values, mask)


def facts(numbers: list[int]) -> Meta:
    return columns([{"name": str(number % 3), "number": number} for number in numbers])


def check(table: Table, numbers: list[int], kind: Callable[[list[int]], Embeddings]) -> None:
    taken, meta = table.take(table.rows([key(number) for number in numbers]), "cpu")
    if kind is one:
        assert torch.equal(taken.values, one(numbers).values)
    else:
        assert taken.values.shape == (len(numbers), max(number % 4 for number in numbers), 2)
        for number, values, mask in zip(numbers, taken.values, taken.full_mask(), strict=True):
            assert mask.tolist() == [True] * (number % 4) + [False] * (len(mask) - number % 4)
            assert torch.equal(values, mask[:, None] * torch.full_like(values, float(number)))
    names = meta["name"]
    assert isinstance(names, Categories)
    assert [names.names[code] for code in names.codes] == [str(number % 3) for number in numbers]
    assert meta["number"].tolist() == numbers  # type: ignore[union-attr]


@both
@pytest.mark.parametrize("kind", [one, many])
@given(chunks=st.lists(st.lists(st.integers(0, 20), max_size=8), max_size=6), flushed=st.booleans())
@settings(deadline=None, max_examples=40)
def test_each_key_keeps_its_embedding_and_its_meta(
    make: Callable[[], Table],
    kind: Callable[[list[int]], Embeddings],
    chunks: list[list[int]],
    flushed: bool,
) -> None:
    table, known = make(), dict[int, int]()
    for numbers in chunks:
        new = table.missing([key(number) for number in numbers]).tolist()
        assert [numbers[place] for place in new] == [number for number in dict.fromkeys(numbers) if number not in known]
        table.append([key(number) for number in numbers], kind(numbers), facts(numbers) if numbers else {})
        known.update({numbers[place]: len(known) + order for order, place in enumerate(new)})
        assert not len(table.missing([key(number) for number in known]))
        if numbers and flushed:
            check(table, numbers, kind)
    if known:
        assert table.rows([key(number) for number in known]).tolist() == list(known.values())
        check(table, list(known)[::-1] * 2, kind)
    assert len(table) == len(known)


@both
def test_an_unknown_key_raises(make: Callable[[], Table]) -> None:
    table = make()
    table.append([key(1)], one([1]), {})
    with pytest.raises(KeyError, match="1 of 2 keys are not in the table, the first at 1"):
        table.rows([key(1), key(2)])


@both
def test_an_empty_table_says_so(make: Callable[[], Table]) -> None:
    table = make()
    table.append([], Embeddings(torch.ones(0, 3)), {})
    assert len(table) == 0 and table.rows([]).tolist() == []
    with pytest.raises(ValueError, match="the table is empty"):
        table.take(torch.empty(0, dtype=torch.long), "cpu")


@both
def test_only_zero_vectors_an_object(make: Callable[[], Table]) -> None:
    table = make()
    nothing = Embeddings(torch.ones(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool))
    table.append([key(1), key(2)], nothing, {})
    taken, _ = table.take(table.rows([key(2), key(1)]), "cpu")
    assert taken.values.shape == (2, 0, 4)
    table.append([key(3)], Embeddings(torch.ones(1, 2, 4)), {})
    assert table.take(table.rows([key(2), key(3)]), "cpu")[0].full_mask().tolist() == [[False] * 2, [True] * 2]


@both
def test_as_many_vectors_for_all_need_no_mask(make: Callable[[], Table]) -> None:
    table, codes = make(), Embeddings(torch.rand(3, 4, 2))
    table.append([key(number) for number in range(3)], codes, {})
    taken, _ = table.take(torch.tensor([2, 0]), "cpu") if table.rows([key(0)]) == 0 else (codes, {})
    assert taken.mask is None and torch.equal(taken.values, codes.values[[2, 0]])


@both
@pytest.mark.parametrize(
    ("embeddings", "meta", "message"),
    [
        (Embeddings(torch.ones(1, 3)), {}, "one vector an object of size 3 and"),
        (Embeddings(torch.ones(1, 2, 2)), {}, "many vectors an object of size 2 and"),
        (Embeddings(torch.ones(1, 2, dtype=torch.float64)), {}, "size 2 and .*float64"),
        (Embeddings(torch.ones(1, 2)), {"tokens": torch.ones(1)}, "meta"),
        (Embeddings(torch.ones(2, 2)), {}, "each of the 1 keys needs an entry, got as many as this: {'embeddings': 2}"),
        (Embeddings(torch.ones(1, 2)), {"tokens": torch.ones(3)}, "got as many as this: {'tokens': 3}"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Table], embeddings: Any, meta: Meta, message: str) -> None:
    table = make()
    table.append([key(1)], one([1]), {})
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            table.append([key(2)], embeddings, meta)
        assert table.rows([key(1)]).tolist() == [0]  # on disk: committed meanwhile
    table.append([key(2)], one([2]), {})
    assert table.take(table.rows([key(2)]), "cpu")[0].values.tolist() == [[2.0, 0.5]]


@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_the_dtype_of_the_encoder_is_kept(make: Callable[[], Table], dtype: torch.dtype) -> None:
    table, vectors = make(), torch.randn(3, 5, dtype=dtype, requires_grad=True)
    table.append([key(number) for number in range(3)], Embeddings(vectors), {})
    taken, _ = table.take(table.rows([key(2), key(0)]), "cpu")
    assert taken.values.dtype is dtype and not taken.values.requires_grad
    assert torch.equal(taken.values, vectors.detach()[[2, 0]])


@both
def test_vectors_made_in_inference_mode_can_be_trained_on(make: Callable[[], Table]) -> None:
    table = make()
    for size in (4, 1):  # the second time there is room for one more
        keys = [key(len(table) + number) for number in range(size)]
        with torch.inference_mode():
            table.append(keys, Embeddings(torch.ones(size, 2)), columns([{"tokens": 1}] * size))
        table.rows(keys)
    table.append([key(9)], Embeddings(torch.ones(1, 2)), columns([{"tokens": 1}]))
    weight = torch.ones(2, requires_grad=True)
    taken, meta = table.take(table.rows([key(0), key(9)]), "cpu")
    ((taken.values * weight).sum() * meta["tokens"].sum()).backward()  # type: ignore[union-attr]
    assert weight.grad is not None and weight.grad.tolist() == [4.0, 4.0]


@both
def test_whole_numbers_after_fractions(make: Callable[[], Table]) -> None:
    table = make()
    table.append([key(1)], one([1]), columns([{"length": 1.5}]))
    table.append([key(2)], one([2]), columns([{"length": 2}]))
    assert table.take(table.rows([key(1), key(2)]), "cpu")[1]["length"].tolist() == [1.5, 2.0]  # type: ignore[union-attr]


@both
def test_keys_may_be_an_array(make: Callable[[], Table]) -> None:
    table, keys = make(), np.arange(64, dtype=np.uint8).reshape(4, 16)
    table.append(keys, one([1, 2, 3, 4]), {})
    assert table.rows(keys[::-1]).tolist() == [3, 2, 1, 0]
    assert table.rows([bytes(key) for key in keys]).tolist() == [0, 1, 2, 3]
