"""Gathering from processes of unequal shares, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_on_two
from torch import Tensor

from simlearn.distributed import (
    all_reduce_min,
    all_reduce_sum,
    exchange,
    gather,
    gather_parts,
    is_distributed,
    rank,
    together,
    world_size,
)

DTYPES = [
    torch.float64,
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.uint8,
    torch.bool,
]

sizes_of_two = pytest.mark.parametrize("sizes", [(3, 3), (4, 1), (0, 2), (3, 0), (0, 0)], ids=str)


def shares(sizes: Sequence[int], shape: tuple[int, ...] = (2,), dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(sum(sizes), *shape, generator=generator, dtype=torch.float64) * 3
    return list(torch.split((whole > 0) if dtype is torch.bool else whole.to(dtype), list(sizes)))


def test_one_process_is_left_as_it_is() -> None:
    tensor = torch.ones(2, 3, requires_grad=True)
    assert gather(tensor) is tensor and all_reduce_sum(tensor) is tensor and all_reduce_min(tensor) is tensor
    assert gather_parts([tensor]) == [[tensor]]
    assert exchange([3, 4]) == [[3, 4]]
    assert (is_distributed(), world_size(), rank()) == (False, 1, 0)
    assert together(lambda: 3, "counting") == 3


def who_am_i() -> tuple[bool, int, int]:
    return is_distributed(), world_size(), rank()


def fails_in_the_second() -> str:
    def work() -> str:
        if rank():
            raise OSError("the disk is full")
        return "done"

    try:
        return together(work, "writing")
    except (OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def test_when_one_process_fails_all_do() -> None:
    assert run_on_two(fails_in_the_second, (), ()) == [
        "RuntimeError: writing failed in process 1: OSError: the disk is full",
        "OSError: the disk is full",
    ]


def test_two_processes_know_each_other() -> None:
    assert run_on_two(who_am_i, (), ()) == [(True, 2, 0), (True, 2, 1)]


@sizes_of_two
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gather_joins_by_rank(sizes: tuple[int, int], dtype: torch.dtype) -> None:
    parts = shares(sizes, (2, 3), dtype)
    for joined in run_on_two(gather, *[(part,) for part in parts]):
        assert joined.dtype is dtype
        assert torch.equal(joined, torch.cat(parts))


@pytest.mark.parametrize("shape", [(), (0,), (2, 1, 3)], ids=str)
def test_gather_keeps_the_shape_of_a_row(shape: tuple[int, ...]) -> None:
    parts = shares((2, 3), shape)
    for joined in run_on_two(gather, *[(part,) for part in parts]):
        assert torch.equal(joined, torch.cat(parts))


def gather_strided(tensor: Tensor) -> Tensor:
    return gather(tensor.T[:, ::2])


def test_gather_takes_any_strides() -> None:
    parts = shares((4, 4), (3,))
    for joined in run_on_two(gather_strided, *[(part,) for part in parts]):
        assert torch.equal(joined, torch.cat([part.T[:, ::2] for part in parts]))


def loss_of(joined: Tensor) -> Tensor:
    """Every row meets every other one, with a weight that depends on both."""
    weights = torch.linspace(-1, 1, len(joined) ** 2, dtype=joined.dtype).view(len(joined), len(joined))
    return (torch.tanh(joined @ joined.T) * weights).sum() + joined.sum() * 0.1


def gradient_of_gathered(rows: Tensor, parameter: Tensor, rows_need_gradient: bool = True) -> tuple[Tensor, Tensor]:
    """The gradient of the rows, and that of a parameter averaged over the processes as DDP does."""
    rows, parameter = rows.requires_grad_(rows_need_gradient), parameter.requires_grad_()
    own = rows @ parameter if len(rows) or rows_need_gradient else rows.detach() @ parameter.detach()
    loss_of(gather(own)).backward()
    grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return torch.zeros_like(rows) if rows.grad is None else rows.grad, all_reduce_sum(grad) / world_size()


@sizes_of_two
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_gradients_are_those_of_one_process(sizes: tuple[int, int], dtype: torch.dtype) -> None:
    parts = shares(sizes, (3,), dtype)
    whole, parameter = torch.cat(parts).requires_grad_(), shares([3], (3,), dtype)[0].requires_grad_()
    loss_of(whole @ parameter).backward()
    tolerance = {"rtol": 1e-12, "atol": 1e-14} if dtype is torch.float64 else {"rtol": 0.05, "atol": 0.05}
    start = 0
    for size, (rows, mean) in zip(
        sizes, run_on_two(gradient_of_gathered, *[(part, parameter.detach()) for part in parts]), strict=True
    ):
        torch.testing.assert_close(rows / 2, whole.grad[start : start + size], **tolerance)
        torch.testing.assert_close(mean, parameter.grad, **tolerance)
        start += size


def test_a_share_without_gradient_does_not_stop_the_others() -> None:
    parts, parameter = shares((3, 0), (3,)), shares([3], (3,))[0]
    arguments = [(parts[0], parameter), (parts[1], parameter, False)]
    (rows, mean), (_, same) = run_on_two(gradient_of_gathered, *arguments)
    whole, parameter = parts[0].requires_grad_(), parameter.requires_grad_()
    loss_of(whole @ parameter).backward()
    torch.testing.assert_close(rows / 2, whole.grad)
    torch.testing.assert_close(mean, parameter.grad)
    assert torch.equal(mean, same)


def gather_without_gradient(rows: Tensor) -> bool:
    with torch.no_grad():
        return gather(rows.requires_grad_()).requires_grad


def test_no_graph_where_none_is_asked_for() -> None:
    parts = shares((2, 2))
    assert run_on_two(gather_without_gradient, *[(part,) for part in parts]) == [False, False]


def second_derivative(rows: Tensor) -> str:
    (grad,) = torch.autograd.grad(loss_of(gather(rows.requires_grad_())), rows, create_graph=True)
    try:
        grad.sum().backward()
    except RuntimeError as error:
        return str(error)
    return "no error"


def test_a_second_derivative_raises_instead_of_being_wrong() -> None:
    for answer in run_on_two(second_derivative, *[(part,) for part in shares((2, 2))]):
        assert "once_differentiable" in answer


@given(
    sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=5, max_size=5),
    width=st.sampled_from([(), (1,), (3, 2)]),
)
@settings(max_examples=25, deadline=None)
def test_many_columns_at_once(sizes: list[tuple[int, int]], dtypes: list[torch.dtype], width: tuple[int, ...]) -> None:
    columns = [shares(pair, width, dtype) for pair, dtype in zip(sizes, dtypes, strict=False)]
    arguments = [([column[process] for column in columns],) for process in range(2)]
    for parts in run_on_two(gather_parts, *arguments):
        for expected, got in zip(columns, parts, strict=True):
            assert [part.dtype for part in got] == [part.dtype for part in expected]
            assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))


def test_numbers_and_reductions() -> None:
    assert run_on_two(exchange, ([1, -2],), ([3, 4],)) == [[[1, -2], [3, 4]]] * 2
    first, second = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 3.0])
    assert all(total.tolist() == [3.0, 8.0] for total in run_on_two(all_reduce_sum, (first,), (second,)))
    assert all(least.tolist() == [1.0, 3.0] for least in run_on_two(all_reduce_min, (first,), (second,)))
    assert first.tolist() == [1.0, 5.0]
