"""Processes that act as one: gathering tensors from all of them, with gradients.

The gradient of `gather` is the sum over the processes of what each asks of the others' rows. Under DDP, which averages
parameter gradients over W processes, a loss computed by every process on the gathered batch therefore has the gradient
that one process has on the same batch, with no factor to add: each row receives W equal shares, and the average divides by W.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether more than one process takes part."""
    return world_size() > 1


def world_size() -> int:
    """The number of processes; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(tensor: Tensor) -> Tensor:
    """Join the rows of all processes in the order of their ranks, with gradients.

    Args:
        tensor: (n, ...); n may differ between processes, the other dimensions may not.

    Returns:
        (sum of n, ...), the same on every process; the tensor itself where there is one process.
    """
    if not is_distributed():
        return tensor
    if tensor.dtype is torch.bool:  # the backends have no boolean collectives
        return gather(tensor.to(torch.uint8)).bool()
    sizes = _sizes(tensor)
    if tensor.requires_grad:
        joined: Tensor = _Gather.apply(tensor, sizes)  # type: ignore[no-untyped-call]
        return joined
    return _all_gather(tensor, sizes)


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


def barrier() -> None:
    """Wait until every process is here."""
    if is_distributed():
        dist.barrier()


def _sizes(tensor: Tensor) -> list[int]:
    own = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(sizes, own)
    return [int(size) for size in sizes]


def _all_gather(tensor: Tensor, sizes: list[int]) -> Tensor:
    """Rows are padded to the longest part because gloo and NCCL gather equal shapes only."""
    longest = max(sizes)
    padded = tensor.new_zeros((longest, *tensor.shape[1:]))
    padded[: len(tensor)] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, sizes: list[int]) -> Tensor:
        ctx.start = sum(sizes[: rank()])
        ctx.size = len(tensor)
        return _all_gather(tensor, sizes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.start + ctx.size], None
