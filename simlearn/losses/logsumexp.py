"""Log-sum-exps of some entries of rows, and of segments: the heart of every softmax."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def masked_logsumexp(scores: Tensor, mask: Tensor) -> Tensor:
    """The logarithm of Σ exp of each row's entries under a mask.

    torch's own functions would keep the masked scores, and pass over the matrix twice more each way.

    Args:
        scores: (N, M).
        mask: (N, M) bool, what counts.

    Returns:
        (N,); −inf, without a gradient, where nothing of a row counts.
    """
    if not scores.shape[1]:
        return scores.new_full((len(scores),), -torch.inf) + scores.sum(1)
    result: Tensor = _MaskedLogSumExp.apply(scores, mask)  # type: ignore[no-untyped-call]
    return result


def logsumexp_or_zero(scores: Tensor, mask: Tensor) -> Tensor:
    """`masked_logsumexp` as a column (N, 1), for sums: 0, without a gradient, where nothing of a row counts."""
    return torch.where(mask.any(1), masked_logsumexp(scores, mask), 0.0)[:, None]


def segment_logsumexp(values: Tensor, segments: Tensor, n_segments: int) -> Tensor:
    """The logarithm of Σ exp of the values of each segment.

    Args:
        values: (P,).
        segments: (P,) int64, to which each belongs.
        n_segments: how many there are.

    Returns:
        (n_segments,); −inf, without a gradient, where there is none.
    """
    lowest = values.new_full((n_segments,), torch.finfo(values.dtype).min)
    highest = lowest.scatter_reduce(0, segments, values.detach(), "amax")
    sums = torch.zeros_like(highest).index_add(0, segments, (values - highest[segments]).exp())
    return torch.where(sums > 0, torch.where(sums > 0, sums, 1.0).log() + highest, -torch.inf)


class _MaskedLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        exponents = torch.where(mask, scores, -torch.inf)
        # An empty row has no maximum: subtracting −inf from −inf would make it NaN.
        highest = exponents.amax(1, keepdim=True).clamp_(min=torch.finfo(scores.dtype).min)
        exponents.sub_(highest).exp_()
        total = exponents.sum(1, keepdim=True)
        ctx.save_for_backward(exponents, total)
        return (total.log() + highest).squeeze(1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        exponents, total = ctx.saved_tensors
        factor = torch.where(total > 0, gradient[:, None] / total, 0.0)
        return exponents * factor, None
