"""Tensors and arrays are read once, where they are, and told by all their numbers."""

from __future__ import annotations

import tracemalloc
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from simlearn.components import Teller, tensors


def told(value: Any) -> bytes:
    return Teller().tell(value)


def test_every_number_is_read_once_however_often_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counting(data: Any, digest_size: int) -> Any:
        read.append(len(data))
        return blake2b(data, digest_size=digest_size)

    monkeypatch.setattr(tensors, "blake2b", counting)
    module = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    module.twin = module[0].weight
    module.plain = [module[0].weight.detach(), module[1].weight.data]
    told(module)
    assert sorted(read) == [40, 40, 400, 400]


def test_an_array_is_not_copied() -> None:
    array = np.ones((1000, 2000), dtype=np.float32)
    tracemalloc.start()
    told(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes // 10


ONES = torch.ones(2, 2)


@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning", "ignore:.*nested:UserWarning")
def test_other_numbers_shapes_and_kinds_are_told_apart() -> None:
    scales, zeros = torch.tensor([0.5, 0.5]), torch.tensor([0, 0])
    values: list[Any] = [
        ONES,
        2 * ONES,
        ONES.flatten(),
        ONES.double(),
        ONES.half(),
        ONES.bfloat16(),
        ONES.bool(),
        ONES.to(torch.complex64),
        (1j * ONES).conj(),
        1j * ONES,
        ONES.to_sparse(),
        ONES.to_sparse_csr(),
        (2 * ONES).to_sparse_csr(),
        ONES.to_mkldnn(),
        torch.quantize_per_tensor(ONES, 0.5, 0, torch.qint8),
        torch.quantize_per_tensor(ONES, 0.25, 0, torch.qint8),
        torch.quantize_per_channel(ONES, scales, zeros, 0, torch.qint8),
        torch.quantize_per_channel(ONES, scales, zeros, 1, torch.qint8),
        torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(1)]),
        torch.empty(2, 2, device="meta"),
        torch.tensor(1.0),
        torch.empty(0),
        torch.empty(0, 1),
        np.ones((2, 2)),
        np.ones((2, 2), dtype=np.float32),
        np.ones(2, dtype=[("a", "f8")]),
        np.ones(2, dtype=[("b", "f8")]),
        np.array(["a", None], dtype=object),
        np.array(["a", 1], dtype=object),
    ]
    assert len({told(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ONES, nn.Parameter(ONES)),
        (ONES, nn.Parameter(ONES, requires_grad=False)),
        (ONES, torch.ones(4, 4)[::2, ::2]),
        (torch.arange(4.0).reshape(2, 2).T, torch.tensor([[0.0, 2.0], [1.0, 3.0]])),
        (np.ones((2, 2)), np.ones((4, 4))[::2, ::2]),
        ((1j * ONES).conj(), (-1j * ONES).resolve_conj()),
    ],
)
def test_equal_numbers_are_told_alike_wherever_they_stand(one: Any, other: Any) -> None:
    assert told(one) == told(other)


def test_a_tensor_of_a_users_class_is_told_with_its_attributes() -> None:
    class Scaled(Tensor):
        scale = 1.0

    plain, one, other = ONES, ONES.as_subclass(Scaled), (ONES * 1).as_subclass(Scaled)
    other.scale = 3.0
    assert len({told(plain), told(one), told(other)}) == 3
