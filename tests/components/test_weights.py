"""States are held against what safetensors can hold, and against NaN, in every kind of number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from simlearn.components.weights import (
    Place,
    check_state,
    holds_nan,
    own_state,
    read_header,
    read_tensors,
    write_weights,
)
from simlearn.files import LoadError

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_nan(dtype: torch.dtype) -> None:
    numbers = torch.full((5,), 1.5).to(dtype)
    assert not holds_nan(numbers)
    numbers[3] = float("nan")
    assert holds_nan(numbers)
    with pytest.raises(ValueError, match="weight of Head holds NaN: training has diverged"):
        check_state("Head", {"weight": numbers})


@pytest.mark.parametrize(
    "numbers",
    [
        torch.tensor([torch.inf, -torch.inf, 1.0]),
        torch.full((9,), 60_000.0, dtype=torch.float16),  # whose sum is infinite
        torch.full((3,), 1e308, dtype=torch.float64),
        torch.tensor([1, 2]),
        torch.empty(0),
        torch.empty(3, device="meta"),
    ],
    ids=str,
)
def test_what_is_no_nan(numbers: Tensor) -> None:
    assert not holds_nan(numbers)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.eye(2).to_sparse(), "sparse tensor.*make it dense"),
        (torch.empty(2, device="meta"), "on the meta device"),
        (torch.ones(2, dtype=torch.complex128), "use complex64"),
        ({"a": 1}, "a dict and no tensor"),
    ],
    ids=["sparse", "meta", "complex128", "dict"],
)
def test_what_no_file_holds(tensor: Tensor, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        check_state("Head", {"weight": tensor})


def test_one_tensor_has_one_place() -> None:
    whole = torch.zeros(4, 4)
    assert Place.of(whole) == Place.of(whole.detach()) == Place.of(nn.Parameter(whole))
    assert len({Place.of(one) for one in (whole, whole[:2], whole.T, whole.flatten(), whole[1:3])}) == 5


def test_state_without_given_modules() -> None:
    inner = nn.Linear(2, 2)
    outer = nn.ModuleDict({"a": nn.Linear(2, 2), "b": inner, "c": nn.Sequential(inner)})
    assert own_state(outer, [inner]).keys() == {"a.weight", "a.bias"}


def test_headers_name_shapes_and_ties(tmp_path: Path) -> None:
    weight = torch.ones(2, 3)
    write_weights({"a": weight, "b": weight, "c": torch.zeros(4)}, tmp_path / "model.safetensors")
    header = read_header(tmp_path / "model.safetensors")
    assert header.shapes == {"a": (2, 3), "c": (4,)} and header.tied == {"b": "a"}
    assert header.named(read_tensors(header.path)).keys() == {"a", "b", "c"}


def test_damage_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(LoadError, match=r"model\.safetensors is missing"):
        read_header(file)
    save_file({"a": torch.ones(100)}, file)
    file.write_bytes(file.read_bytes()[:-8])
    for read in (read_header, read_tensors):
        with pytest.raises(LoadError, match=r"model\.safetensors does not hold weights"):
            read(file)
