"""Losses over score matrices that are too large to keep: one tile of rows at a time, exactly.

1. The embeddings are prepared once (for cosine: brought to unit length).
2. A tile, some rows against all columns, is scored, and a *policy* sums up its rows: InfoNCE, triplets, whatever is a
   sum over rows. The tile's gradient is taken at once, while its scores are at hand, and added up; the tile is dropped.
3. `backward` multiplies the gradient with a number. Nothing quadratic outlives a tile, and nothing is computed twice.

The number of rows follows from a fixed budget in bytes, not from the memory that happens to be free, so that runs
repeat. Where every process holds the same gathered batch, each walks its share of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from simlearn.distributed import all_reduce_sum, rank
from simlearn.embeddings import Embeddings
from simlearn.losses.similarity_loss import LossResult, SimilarityLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer

TILE_BYTES = SimilarityLoss.tile_bytes
"""What the scores of a tile and what a policy makes of them may take, about."""

_TEMPORARIES = 8
"""Matrices as large as the tile that most policies and their gradients hold at once."""

Policy: TypeAlias = Callable[..., LossResult]
"""From scores or distances (r, M), positives (r, M), negatives (r, M) and parameters to the sum over the rows."""


def tiled_loss(
    queries: Embeddings,
    documents: Embeddings,
    relation: Relation,
    scorer: Scorer,
    policy: Policy,
    *parameters: Tensor,
    by_distance: bool = False,
    tile_bytes: int = TILE_BYTES,
    temporaries: int = _TEMPORARIES,
) -> LossResult:
    """The sum of a policy over all queries, without the matrix of their scores.

    Args:
        queries: N embeddings, the rows.
        documents: M embeddings, the columns.
        relation: of N queries and M documents.
        scorer: scores the tiles.
        policy: sums up the rows of a tile.
        *parameters: tensors that the policy takes besides and that get gradients, such as a temperature.
        by_distance: whether the policy takes distances instead of scores.
        tile_bytes: the budget of a tile; smaller tiles give the same result within rounding.
        temporaries: how many fp32 matrices as large as the tile the policy and its gradient hold at once. A scorer of
            many vectors is granted as many of what it says a tile costs (`Scorer.cells`).

    Returns:
        The loss and the counts over all rows; under DDP, where the relation was gathered, those of the global batch
        with this process's share of the gradient, W times as large because DDP averages.
    """
    queries, documents = scorer.prepare_queries(queries), scorer.prepare_documents(documents)
    scores_of = scorer.tile_distances if by_distance else scorer.tile
    owned = [parameter for parameter in scorer.parameters() if parameter.requires_grad]

    def sum_up(rows: slice, values: Tensor, columns: Tensor, *given: Tensor) -> LossResult:
        mask = None if queries.mask is None else queries.mask[rows]
        scores = scores_of(Embeddings(values, mask), Embeddings(columns, documents.mask))
        return policy(scores, relation.positives(rows), relation.negatives(rows), *given)

    names: list[str] = []
    with torch.autocast(queries.device.type, enabled=False):
        total, sums = _TiledSum.apply(  # type: ignore[no-untyped-call]
            sum_up,
            _tiles(relation, documents.values, scorer.cells(queries, documents), tile_bytes // temporaries),
            names,
            owned,
            queries.values,
            documents.values,
            *parameters,
            *owned,
        )
    if relation.copies > 1:
        copies = relation.copies
        shared = all_reduce_sum(torch.cat([total.detach()[None].to(sums.dtype), sums]))
        # The value of all rows, with W times the gradient of this process's rows.
        total, sums = copies * total + (shared[0] - copies * total.detach()), shared[1:]
    return LossResult(total, sums[0], dict(zip(names, sums[1:], strict=True)))


class Hardest(NamedTuple):
    """The farthest positive and the nearest negative of each of N queries: their columns, and whether there is one."""

    positives: Tensor
    negatives: Tensor
    has_positive: Tensor
    has_negative: Tensor


@torch.no_grad()
def mine_hardest(
    queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer, tile_bytes: int = TILE_BYTES
) -> Hardest:
    """Find the hardest positive and negative of each query, tile by tile; the first of equals.

    Args:
        queries: N embeddings.
        documents: M embeddings, at least one.
        relation: of N queries and M documents.
        scorer: measures the distances.
        tile_bytes: the budget of a tile.

    Returns:
        Columns (N,) int64, of which those of queries without any mean nothing.
    """
    queries, documents = scorer.prepare_queries(queries), scorer.prepare_documents(documents)
    cells = scorer.cells(queries, documents)
    # Written in place: a small result that stayed behind each tile kept the allocator from using its memory again.
    columns = torch.zeros(2, len(queries), dtype=torch.long, device=queries.device)
    has = torch.zeros(2, len(queries), dtype=torch.bool, device=queries.device)
    for rows in _tiles(replace(relation, shares=()), documents.values, cells, tile_bytes // _TEMPORARIES):
        distances = scorer.tile_distances(queries.take(rows), documents)
        positives, negatives = relation.positives(rows), relation.negatives(rows)
        columns[0, rows] = distances.masked_fill(~positives, -torch.inf).argmax(1)
        columns[1, rows] = distances.masked_fill(~negatives, torch.inf).argmin(1)
        has[0, rows], has[1, rows] = positives.any(1), negatives.any(1)
    return Hardest(*columns, *has)


def _tiles(relation: Relation, columns: Tensor, cells: int, matrix_bytes: int) -> list[slice]:
    """The rows of each tile of this process; at least one tile, so that an empty batch has counts too.

    `cells` are the floats that the scorer holds for one pair, and holds anew for each step of its gradient.
    """
    share = rank() if relation.copies > 1 else 0  # not gathered: every row is this process's own
    first, last = (relation.n_queries * edge // relation.copies for edge in (share, share + 1))
    row_bytes = max(1, relation.n_documents) * cells * max(4, columns.element_size())
    step = max(1, matrix_bytes // row_bytes)
    return [slice(start, min(start + step, last)) for start in range(first, max(last, first + 1), step)]


class _TiledSum(torch.autograd.Function):
    """Sums over tiles, whose gradients are taken with them."""

    @staticmethod
    def forward(
        ctx: Any,
        sum_up: Callable[..., LossResult],
        tiles: Sequence[slice],
        names: list[str],
        owned: Sequence[nn.Parameter],
        queries: Tensor,
        *others: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Fills `names` with those of the counts; `owned` are the scorer's parameters, which stand last in `others`."""
        needed = list(ctx.needs_input_grad[4:])
        tensors = (queries, *others)
        gradients = [
            torch.zeros_like(tensor, dtype=_wide(tensor)) if need else None
            for tensor, need in zip(tensors, needed, strict=True)
        ]
        total: Any = 0.0
        sums: Any = 0.0
        for rows in tiles:
            # Fresh leaves: the tile's graph must end here, or it would reach into the caller's and be kept.
            leaves = [tensor.detach() for tensor in tensors[: len(tensors) - len(owned)]]
            leaves[0] = leaves[0][rows]
            with torch.set_grad_enabled(any(needed)):
                for leaf, need in zip(leaves, needed, strict=False):
                    leaf.requires_grad_(need)
                result = sum_up(rows, *leaves)
            if any(needed) and result.total.requires_grad:
                sought = [tensor for tensor, need in zip([*leaves, *owned], needed, strict=True) if need]
                found = iter(torch.autograd.grad(result.total, sought, allow_unused=True))
                for number, gradient in enumerate(gradients):
                    part = next(found) if gradient is not None else None
                    if gradient is not None and part is not None:
                        (gradient[rows] if number == 0 else gradient).add_(part)
            total = total + result.total.detach()
            names[:] = result.counts
            sums = sums + torch.stack([_number(value, total) for value in (result.weight, *result.counts.values())])
        ctx.save_for_backward(*(None if g is None else g.to(t.dtype) for g, t in zip(gradients, tensors, strict=True)))
        ctx.mark_non_differentiable(sums)
        return total, sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        scaled = (None if saved is None else gradient.to(saved.dtype) * saved for saved in ctx.saved_tensors)
        return (None, None, None, None, *scaled)


def _number(value: Tensor | float, like: Tensor) -> Tensor:
    """A scalar in double, where the device has it: single precision cannot count beyond 2**24."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.as_tensor(value, device=like.device).detach().to(dtype)


def _wide(tensor: Tensor) -> torch.dtype:
    """At least fp32: thousands of half-precision terms would drown each other."""
    return torch.promote_types(tensor.dtype, torch.float32)
