"""Processes that act as one: gathering tensors from all of them, with gradients.

The gradient of `gather` is the sum over the processes of what each asks of the others' rows. Under DDP, which averages
parameter gradients over W processes, a loss computed by every process on the gathered batch therefore has the gradient
that one process has on the same batch, with no factor to add: each row receives W equal shares, and the average divides
by W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from simlearn.precision import at_least_single

_Done = TypeVar("_Done")


def is_distributed() -> bool:
    """Whether more than one process takes part."""
    return world_size() > 1


def world_size() -> int:
    """The number of processes; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(tensor: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Join the rows of all processes in the order of their ranks, with gradients.

    Args:
        tensor: (n, ...) of any dtype. Processes may differ in n, which may be 0, but not in dtype or other dimensions.
        sizes: the n of each process, where they are known already; it spares a collective.

    Returns:
        (sum of n, ...), the same on every process; the tensor itself where there is one process.
    """
    if not is_distributed():
        return tensor
    needed = tensor.dtype.is_floating_point
    if sizes is None:
        told = exchange([len(tensor), int(tensor.requires_grad)], tensor.device)
        sizes, needed = [size for size, _ in told], any(requires_grad for _, requires_grad in told)
    if not torch.is_grad_enabled() or not needed:
        return _all_gather(tensor, sizes)
    # The backward pass waits for every process, so one whose own rows need no gradient takes part in it all the same.
    joined: Tensor = _Gather.apply(tensor if tensor.requires_grad else tensor.detach().requires_grad_(), sizes)  # type: ignore[no-untyped-call]
    return joined


def gather_parts(columns: Sequence[Tensor]) -> list[list[Tensor]]:
    """The parts of all processes of several tensors at once, without gradients: two collectives for however many.

    Args:
        columns: C tensors (n, ...) of any dtype on one device; every process gives as many, of the same dtypes and, but
            for n, the same shapes.

    Returns:
        For each of the C tensors the parts of the W processes, in the order of their ranks.
    """
    if not is_distributed():
        return [[column] for column in columns]
    device = columns[0].device
    lengths = exchange([len(column) for column in columns], device)
    widths = [math.prod(column.shape[1:]) * column.element_size() for column in columns]
    counts = [[length * width for length, width in zip(own, widths, strict=True)] for own in lengths]
    payload = torch.cat([_bytes(column) for column in columns])
    everything = _all_gather(payload, [sum(own) for own in counts])
    pieces = torch.split(everything, [count for own in counts for count in own])
    parts: list[list[Tensor]] = [[] for _ in columns]
    for number, piece in enumerate(pieces):
        process, column = divmod(number, len(columns))
        like = columns[column]
        # A copy, because a view of another dtype must start at a multiple of its size.
        parts[column].append(piece.clone().view(like.dtype).reshape(lengths[process][column], *like.shape[1:]))
    return parts


def exchange(numbers: Sequence[int], device: torch.device | str = "cpu") -> list[list[int]]:
    """K whole numbers that each process has to say, of all processes by rank, in one collective."""
    if not is_distributed():
        return [list(numbers)]
    own = torch.tensor(numbers, dtype=torch.long, device=device)
    told = own.new_empty((world_size(), len(own)))
    dist.all_gather(list(told.unbind()), own)
    everything: list[list[int]] = told.tolist()
    return everything


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over all processes, element by element, without gradients."""
    if not is_distributed():
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def all_reduce_min(tensor: Tensor) -> Tensor:
    """The minimum over all processes, element by element, without gradients."""
    if not is_distributed():
        return tensor
    least = tensor.detach().clone()
    dist.all_reduce(least, op=dist.ReduceOp.MIN)
    return least


def gather_objects(value: Any) -> list[Any]:
    """What each process gives, by rank: for small things outside the hot path, since it is pickled between them."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def with_zero_gradients(values: Tensor, idle: Iterable[Tensor]) -> Tensor:
    """The same values, with weights in their graph that had no part in them, which get a zero gradient instead of none.

    Processes that average gradients must have the same ones, whatever the share of the batch that each has seen.

    Args:
        values: of any shape.
        idle: weights; those that do not train are left out. None of their values is read, not even an infinite one.
    """
    empty = [weight.flatten()[:0] for weight in idle if weight.requires_grad]
    return values + torch.cat(empty).sum() if empty and torch.is_grad_enabled() else values


def together(work: Callable[[], _Done], what: str) -> _Done:
    """Do a process's own part of some work, and wait for the others; when one fails all do, and none waits for ever.

    Args:
        work: does it, without collectives.
        what: the name of the work, for the message.

    Raises:
        RuntimeError: when it failed in another process.
    """
    failure: Exception | None = None
    done: list[_Done] = []
    try:
        done.append(work())
    except Exception as error:
        failure = error
    failures = gather_objects(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise failure
    for process, told in enumerate(failures):
        if told is not None:
            raise RuntimeError(f"{what} failed in process {process}: {told}")
    return done[0]


def _bytes(tensor: Tensor) -> Tensor:
    """Every dtype as bytes: the backends lack booleans, short integers and some floats."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _all_gather(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows are padded to the longest part because the backends gather equal shapes only."""
    longest = max(sizes)
    padded = tensor.detach()
    if len(padded) < longest:
        padded = torch.cat([padded, padded.new_zeros((longest - len(padded), *padded.shape[1:]))])
    joined = padded.new_empty((len(sizes) * longest, *padded.shape[1:]))
    if joined.numel():
        dist.all_gather(list(_bytes(joined).chunk(len(sizes))), _bytes(padded))
    if min(sizes) == longest:
        return joined
    return torch.cat([part[:size] for part, size in zip(torch.split(joined, longest), sizes, strict=True)])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: Sequence[int]) -> Tensor:
        ctx.start = sum(sizes[: rank()])
        ctx.size = len(tensor)
        return _all_gather(tensor, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        # In at least fp32: a sum in half precision would depend on how many processes share the work.
        total = grad.to(at_least_single(grad), copy=True, memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.size].to(grad.dtype), None
