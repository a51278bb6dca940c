"""Losses over score matrices that are too large to keep: one tile of rows at a time, exactly.

1. The embeddings are prepared once (for cosine: brought to unit length).
2. A tile, some rows against all columns, is scored, and a *policy* sums up its rows: triplets, Circle, whatever is a
   sum over rows. The tile's gradient is taken at once, while its scores are at hand, and added up; the tile is dropped.
3. `backward` multiplies the gradient with a number. Nothing quadratic outlives a tile, and nothing is computed twice.

Only where a scorer holds so much for each pair that one row bursts the budget, as late interaction over long documents,
are the scores of a row computed in pieces, and once more for the gradient. `contrast` cuts columns too. Where every
process holds the same gathered batch, each walks its share of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from simlearn.distributed import rank
from simlearn.embeddings import Embeddings
from simlearn.losses.loss_result import LossResult
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer
from simlearn.tiles import TileShape, cuts, tile_shape

TILE_BYTES = 64 * 2**20
"""What the scores of a tile and what a policy makes of them may take, about."""

TEMPORARIES = 8
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
    per_row: Sequence[Tensor] = (),
    learnt: Iterable[Tensor] = (),
    by_distance: bool = False,
    tile_bytes: int = TILE_BYTES,
    temporaries: int = TEMPORARIES,
    prepared: bool = False,
) -> LossResult:
    """The sum of a policy over all queries, without the matrix of their scores.

    Args:
        queries: N embeddings, the rows.
        documents: M embeddings, the columns.
        relation: of N queries and M documents.
        scorer: scores the tiles.
        policy: sums up the rows of a tile.
        *parameters: tensors that the policy takes besides and that get gradients, such as a temperature, or a number
            (M,) for each column.
        per_row: tensors (N, ...) of which the policy takes the tile's rows, after the parameters, with gradients.
        learnt: tensors that the policy reads without being given them, such as its own parameters; with gradients.
        by_distance: whether the policy takes distances instead of scores.
        tile_bytes: the budget of a tile; smaller tiles give the same result within rounding.
        temporaries: how many fp32 matrices as large as the tile the policy and its gradient hold at once. A scorer of
            many vectors is granted as many of what it says a tile costs (`Scorer.cells`).
        prepared: whether the scorer has prepared the embeddings already.

    Returns:
        The loss and the counts over all rows; under DDP, where the relation was gathered, those of the global batch
        with this process's share of the gradient, W times as large because DDP averages.
    """
    if not prepared:
        queries, documents = scorer.prepare_queries(queries), scorer.prepare_documents(documents)
    scores_of = scorer.tile_distances if by_distance else scorer.tile
    shape = tiles_of(queries, documents, scorer, tile_bytes, temporaries)
    # The policy holds whole rows of scores anyway: only what the scorer holds besides is worth cutting.
    width = shape.columns if scorer.cells(queries, documents) > 1 else len(documents)
    pieces = cuts(0, len(documents), max(1, width))
    owned = [*learnt, *learnt_by(scorer)]
    sliced = 1 + len(per_row)

    def scored(rows: Embeddings, columns: Tensor) -> Tensor:
        def piece(cut: slice) -> Tensor:
            return scores_of(rows, part_of(documents, cut, columns[cut]))

        if len(pieces) == 1:
            return piece(pieces[0])
        return torch.cat([checkpoint(piece, cut, use_reentrant=False) for cut in pieces], dim=1)

    def walk(needed: Sequence[bool], *tensors: Tensor) -> tuple[LossResult, list[Tensor | None]]:
        gradients = Gradients(tensors, needed)
        total: Any = 0.0
        sums: Any = 0.0
        for rows in own_rows(relation, shape.rows):
            # Fresh leaves: the tile's graph must end here, or it would reach into the caller's and be kept.
            leaves = gradients.leaves([rows] * sliced, len(owned))
            with torch.set_grad_enabled(any(needed)):
                scores = scored(part_of(queries, rows, leaves[0]), leaves[sliced])
                given = (*leaves[sliced + 1 :], *leaves[1:sliced])
                result = policy(scores, relation.positives(rows), relation.negatives(rows), *given)
            if any(needed) and result.total.requires_grad:
                gradients.add(result.total, [*leaves, *owned], [rows] * sliced)
            total, sums = total + result.total.detach(), sums + result.numbers()
        return result.with_numbers(total, sums), gradients.sums

    with torch.autocast(queries.device.type, enabled=False):
        result = with_gradients(walk, queries.values, *per_row, documents.values, *parameters, *owned)
    return result.over_processes() if relation.copies > 1 else result


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
    shape = tiles_of(queries, documents, scorer, tile_bytes)
    # Written in place: a small result that stayed behind each tile kept the allocator from using its memory again.
    found = torch.zeros(2, len(queries), dtype=torch.long, device=queries.device)
    has = torch.zeros(2, len(queries), dtype=torch.bool, device=queries.device)
    dtype = at_least_single(queries.values)
    hardest = torch.full((2, len(queries)), -torch.inf, dtype=dtype, device=queries.device)
    for rows in own_rows(replace(relation, shares=()), shape.rows):
        for columns in cuts(0, len(documents), shape.columns):
            distances = scorer.tile_distances(queries.take(rows), documents.take(columns))
            masks = relation.positives(rows, columns), relation.negatives(rows, columns)
            for side, (mask, hard, sign) in enumerate(zip(masks, (torch.argmax, torch.argmin), (1, -1), strict=True)):
                place = hard(distances.masked_fill(~mask, -sign * torch.inf), 1)
                there = mask.any(1)
                here = torch.where(there, sign * distances.gather(1, place[:, None])[:, 0], -torch.inf)
                harder = ~(here <= hardest[side, rows])  # NaN is harder than anything: it must not vanish
                hardest[side, rows] = torch.where(harder, here, hardest[side, rows])
                found[side, rows] = torch.where(harder, place + columns.start, found[side, rows])
                has[side, rows] |= there
    return Hardest(*found, *has)


def tiles_of(
    queries: Embeddings,
    documents: Embeddings,
    scorer: Scorer,
    tile_bytes: int,
    temporaries: int = TEMPORARIES,
    narrowest: int | None = None,
) -> TileShape:
    """The tiles of prepared embeddings, for so many matrices as large as one; rows stay whole without `narrowest`.

    The floats that the scorer holds for one pair are held anew for each step of its gradient.
    """
    cell_bytes = max(4, documents.values.element_size())
    pair_bytes = temporaries * scorer.cells(queries, documents) * cell_bytes
    return tile_shape(len(queries), len(documents), pair_bytes, tile_bytes, narrowest=narrowest or len(documents))


def own_rows(relation: Relation, step: int) -> list[slice]:
    """The rows of each tile of this process; at least one tile, so that an empty batch has counts too."""
    share = rank() if relation.copies > 1 else 0  # not gathered: every row is this process's own
    first, last = (relation.n_queries * edge // relation.copies for edge in (share, share + 1))
    return cuts(first, last, step)


def part_of(embeddings: Embeddings, cut: slice, values: Tensor) -> Embeddings:
    """The objects at a cut with other values, such as leaves of a graph of their own."""
    return Embeddings(values, None if embeddings.mask is None else embeddings.mask[cut])


def learnt_by(scorer: Scorer) -> list[Tensor]:
    """The parameters of a scorer that train."""
    return [parameter for parameter in scorer.parameters() if parameter.requires_grad]


class Gradients:
    """The gradients of tensors as they add up, tile after tile.

    Args:
        tensors: those that a walk reads.
        needed: which of them get a gradient.
    """

    def __init__(self, tensors: Sequence[Tensor], needed: Sequence[bool]) -> None:
        self._tensors = tensors
        self._needed = needed
        self.sums = [
            torch.zeros_like(tensor, dtype=at_least_single(tensor)) if need else None
            for tensor, need in zip(tensors, needed, strict=True)
        ]

    def leaves(self, places: Sequence[slice], owned: int) -> list[Tensor]:
        """Copies that a tile's graph begins at: the first ones of `places`, without the last `owned`."""
        leaves = [tensor.detach() for tensor in self._tensors[: len(self._tensors) - owned]]
        leaves[: len(places)] = [leaf[place] for leaf, place in zip(leaves, places, strict=False)]
        for leaf, need in zip(leaves, self._needed, strict=False):
            leaf.requires_grad_(need)
        return leaves

    def add(
        self, value: Tensor, leaves: Sequence[Tensor], places: Sequence[slice], outer: Tensor | None = None
    ) -> None:
        """Add the gradients of a tile's value; of a matrix, with `outer` as the gradient of what follows."""
        sought = [leaf for leaf, need in zip(leaves, self._needed, strict=True) if need]
        found = iter(torch.autograd.grad(value, sought, outer, allow_unused=True))
        for position, gradient in enumerate(self.sums):
            part = None if gradient is None else next(found)
            if gradient is not None and part is not None:
                (gradient[places[position]] if position < len(places) else gradient).add_(part)


Walk: TypeAlias = Callable[..., tuple[LossResult, Sequence[Tensor | None]]]
"""`walk(needed, *tensors)` gives a result without a graph, and the gradients of its total by the tensors."""


def with_gradients(walk: Walk, *tensors: Tensor) -> LossResult:
    """What a walk over tiles adds up, with the gradients that it took on the way."""
    results: list[LossResult] = []

    def flat(needed: Sequence[bool], *tensors: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor | None]]:
        result, gradients = walk(needed, *tensors)
        results.append(result)
        return result.total, result.numbers(), gradients

    total, numbers = _WithGradients.apply(flat, *tensors)  # type: ignore[no-untyped-call]
    return results[0].with_numbers(total, numbers)


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, walk: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, Tensor]:
        total, sums, gradients = walk(list(ctx.needs_input_grad[1:]), *tensors)
        ctx.save_for_backward(*(None if g is None else g.to(t.dtype) for g, t in zip(gradients, tensors, strict=True)))
        ctx.mark_non_differentiable(sums)
        return total, sums

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        scaled = (None if saved is None else gradient.to(saved.dtype) * saved for saved in ctx.saved_tensors)
        return (None, *scaled)
