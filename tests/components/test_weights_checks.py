"""Sizes that headers name, and weights that are no numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from simlearn.components.weights_checks import WeightSizes, check_finite
from simlearn.files import LoadError

KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e5m2]


def test_sizes_of_one_file_and_of_two(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(2)}, tmp_path / "a.safetensors")
    save_file({"c": torch.zeros(7, dtype=torch.int64), "d": torch.tensor(1.0)}, tmp_path / "b.safetensors")
    assert WeightSizes.of(tmp_path / "a.safetensors") == WeightSizes(tensors=2, numbers=17, largest=5)
    assert WeightSizes.of(*tmp_path.iterdir()) == WeightSizes(tensors=4, numbers=25, largest=7)
    assert WeightSizes.of() == WeightSizes()


@pytest.mark.parametrize("content", [None, b"", b"\0" * 8, (2**60).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LoadError, match=r"a\.safetensors is no safetensors file"):
        WeightSizes.of(file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_weights_that_are_no_numbers(kind: torch.dtype, value: str) -> None:
    tensor = torch.ones(2, 5).to(kind)
    check_finite({"a": tensor}, "file")
    tensor[1, 3] = float(value)
    with pytest.raises(LoadError, match="file holds NaN or infinity in b"):
        check_finite({"a": torch.ones(1), "b": tensor}, "file")


@pytest.mark.parametrize("largest", [torch.tensor([6e4] * 99, dtype=torch.float16), torch.full((99,), 3e38)])
def test_a_sum_that_overflows_is_no_fault(largest: torch.Tensor) -> None:
    assert largest.sum().isinf()
    check_finite({"a": largest}, "file")


def test_infinities_that_cancel() -> None:
    with pytest.raises(LoadError):
        check_finite({"a": torch.tensor([torch.inf, -torch.inf])}, "file")


def test_what_holds_no_fractions() -> None:
    check_finite({"a": torch.ones(2, dtype=torch.int64), "b": torch.empty(0), "c": torch.ones(2, dtype=torch.bool)}, "")
    check_finite({"a": torch.empty(3, device="meta")}, "")


def test_weights_that_require_gradients() -> None:
    check_finite({"a": torch.ones(2, requires_grad=True)}, "file")
