"""The contrastive core, behind every loss that tells the positives of an anchor from its negatives by a softmax.

Such a loss needs two things of the matrix of scores: the scores of the positives, which are few, and for each anchor
the log-sum-exp of its negatives, which is what stands against the positives. A *formula* makes the loss of them.

Where rows fit into a tile whole, one walk is enough (`tiled_loss`). There are two walks where columns are cut too, or
where documents ask for queries as well, so that both directions share each tile:

1. Every tile adds to the log-sum-exps of its rows, and of its columns where these ask; positives are kept.
2. The formula gives the loss, and its gradient by these few numbers.
3. Every tile is scored again. From these gradients follows that of its scores, a softmax of rows plus one of columns.

So a symmetric loss costs four matrix products, where two separate directions cost six.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from simlearn.distributed import gather_parts, rank
from simlearn.embeddings import Embeddings
from simlearn.losses.functional import anchor_counts
from simlearn.losses.logsumexp import masked_logsumexp
from simlearn.losses.similarity_loss import LossResult
from simlearn.losses.tiling import TILE_BYTES, Gradients, WithGradients, number, own_rows, shape_of, sum_rows, wide
from simlearn.relations import Relation
from simlearn.scoring import Scorer
from simlearn.tiles import cuts

Formula: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From the logits of P positives, the anchor that each belongs to (P,) int64, the log-sum-exp of what stands against
each of N anchors (N,), −inf for nothing, and how many positives it has (N,), to the sum over the anchors."""

_RANGE = 60.0
"""Within it one exponential serves rows and columns: e^−60 is far from what fp32 calls zero."""

_NARROWEST = 1024
"""Columns of a tile: narrower ones make more of the products, which are slower then."""


def over_masks(
    formula: Formula,
    logits: Tensor,
    positives: Tensor,
    negatives: Tensor,
    margin: Tensor | float = 0.0,
    beside: Tensor | None = None,
) -> LossResult:
    """A formula's loss of a whole matrix, or of whole rows of one.

    Args:
        formula: makes the loss.
        logits: (N, M) scores, already divided by the temperature.
        positives: (N, M) bool.
        negatives: (N, M) bool.
        margin: taken from the logits of positives.
        beside: (N,) one more logit against each anchor.

    Returns:
        The mean over the anchors with a positive; the counts of anchors without a positive and of those without a
        negative.
    """
    # Only the positives are gone through: mostly one a row, where the matrix has thousands.
    anchors, columns = positives.nonzero(as_tuple=True)
    against = _faced(masked_logsumexp(logits, negatives), beside)
    return _summed(formula, logits[anchors, columns] - margin, anchors, against)


def contrast(
    queries: Embeddings,
    documents: Embeddings,
    relation: Relation,
    scorer: Scorer,
    formula: Formula,
    scale: Tensor | float = 1.0,
    *,
    margin: float = 0.0,
    symmetric: bool = False,
    per_row: Tensor | None = None,
    per_column: Tensor | None = None,
    tile_bytes: int = TILE_BYTES,
) -> LossResult:
    """The contrastive loss of queries and documents, without the matrix of their scores.

    Args:
        queries: N embeddings.
        documents: M embeddings.
        relation: of these.
        scorer: scores the tiles; it need not be symmetric.
        formula: makes the loss.
        scale: what scores are multiplied with, 1 / temperature; a scalar tensor gets a gradient.
        margin: taken from the scores of positives.
        symmetric: the mean of this and of the documents that ask for queries. A shared relation is its own transpose.
        per_row: (N,) one more logit against each query, such as that of documents that are not in the batch.
        per_column: (M,) added to the logits of each document, such as the negated logarithm of how often it is drawn.
        tile_bytes: the budget of a tile; smaller tiles give the same result within rounding. Where there are two walks,
            the positives are kept besides, some 20 bytes each.

    Returns:
        The loss, and the counts of queries without a positive or a negative; under DDP as of `tiled_loss`.
    """
    queries, documents = scorer.prepare_queries(queries), scorer.prepare_documents(documents)
    symmetric = symmetric and not relation.is_shared
    learnt = [scale] if isinstance(scale, Tensor) else []
    columns = [] if per_column is None else [per_column]
    rows = [] if per_row is None else [per_row]
    matrix = _Matrix(queries, documents, relation, scorer, scale, margin, bool(columns))
    with torch.autocast(queries.device.type, enabled=False):
        if symmetric or shape_of(queries, documents, scorer, tile_bytes).columns < len(documents):
            return _two_walks(matrix, formula, symmetric, tile_bytes, [*columns, *learnt], rows)

        def policy(scores: Tensor, positives: Tensor, negatives: Tensor, *given: Tensor) -> LossResult:
            logits, factor = matrix.logits(scores, given[: len(columns) + len(learnt)])
            return over_masks(formula, logits, positives, negatives, margin * factor, given[-1] if rows else None)

        return sum_rows(
            queries, documents, relation, scorer, policy, *columns, *learnt, per_row=rows, tile_bytes=tile_bytes
        )


@dataclass(frozen=True)
class _Matrix:
    """A matrix of logits, of which tiles are asked for. The embeddings are prepared."""

    queries: Embeddings
    documents: Embeddings
    relation: Relation
    scorer: Scorer
    scale: Tensor | float
    margin: float
    has_columns: bool

    def logits(self, scores: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, Tensor | float]:
        """Logits of scores, and what scores are multiplied with; `given` are the tile's columns, and a learnt scale."""
        factor = given[-1] if isinstance(self.scale, Tensor) else self.scale
        logits = scores * factor
        return (logits + given[0] if self.has_columns else logits), factor

    def tile(self, rows: slice, columns: slice, tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | float]:
        """The logits of a tile, a new tensor, of queries, documents and `given`, all cut to it."""
        queries, documents, *given = tensors
        masks = [None if all_of.mask is None else all_of.mask[cut] for all_of, cut in self._sides(rows, columns)]
        return self.logits(self.scorer.tile(Embeddings(queries, masks[0]), Embeddings(documents, masks[1])), given)

    def _sides(self, rows: slice, columns: slice) -> list[tuple[Embeddings, slice]]:
        return [(self.queries, rows), (self.documents, columns)]


class _Tile(NamedTuple):
    """What the first walk keeps of a tile: its place, the least and the largest logit, where its positives are."""

    rows: slice
    columns: slice
    low: float
    high: float
    anchors: Tensor
    answers: Tensor


def _two_walks(
    matrix: _Matrix,
    formula: Formula,
    symmetric: bool,
    tile_bytes: int,
    given: Sequence[Tensor],
    per_row: Sequence[Tensor],
) -> LossResult:
    queries, documents, relation, scorer = matrix.queries, matrix.documents, matrix.relation, matrix.scorer
    shape = shape_of(queries, documents, scorer, tile_bytes, narrowest=_NARROWEST)
    owned = [parameter for parameter in scorer.parameters() if parameter.requires_grad]
    sides = 2 + matrix.has_columns
    names: list[str] = []

    def walk(needed: Sequence[bool], *tensors: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        read = tensors[: len(tensors) - len(per_row)]
        gradients = Gradients(read, needed[: len(read)])
        against = queries.values.new_full((len(queries),), -torch.inf, dtype=wide(queries.values))
        against_columns = against.new_full((len(documents),), -torch.inf)
        tiles: list[_Tile] = []
        found: list[Tensor] = []
        own = own_rows(relation, shape.rows)
        for rows in own:
            for columns in cuts(0, len(documents), shape.columns):
                leaves = gradients.leaves([rows, *[columns] * (sides - 1)], len(owned))
                with torch.no_grad():
                    logits, factor = matrix.tile(rows, columns, leaves)
                anchors, answers = relation.positives(rows, columns).nonzero(as_tuple=True)
                found.append(logits[anchors, answers] - matrix.margin * factor)
                low, high = (float(bound) for bound in logits.aminmax()) if logits.numel() else (0.0, 0.0)
                tiles.append(_Tile(rows, columns, low, high, anchors, answers))
                of_rows, of_columns = _logsumexps(logits, relation.negatives(rows, columns), tiles[-1], symmetric)
                against[rows] = torch.logaddexp(against[rows], of_rows.to(against.dtype))
                if symmetric:
                    against_columns[columns] = torch.logaddexp(against_columns[columns], of_columns.to(against.dtype))
        positives = torch.cat(found)
        anchors = torch.cat([tile.anchors + tile.rows.start for tile in tiles])
        answers = torch.cat([tile.answers + tile.columns.start for tile in tiles])
        mine = slice(0, len(positives))
        if (
            relation.copies > 1
        ):  # every process makes the whole loss of what all have found, and its share of the slopes
            span = slice(own[0].start, own[-1].stop)
            parts = gather_parts([positives, anchors, answers, against[span], against_columns])
            before = sum(len(part) for part in parts[0][: rank()])
            mine = slice(before, before + len(positives))
            positives, anchors, answers, against = (torch.cat(part) for part in parts[:4])
            against_columns = torch.stack(parts[4]).logsumexp(0)
        leaves = [tensor.detach() for tensor in (positives, against, against_columns, *tensors[len(read) :])]
        with torch.enable_grad():
            for leaf in leaves:
                leaf.requires_grad_()
            faced = _faced(leaves[1], leaves[3] if per_row else None)
            result = _summed(formula, leaves[0], anchors, faced)
            total = result.total
            if symmetric:
                total = (result.value + _summed(formula, leaves[0], answers, leaves[2]).value) / 2
            slopes = [
                torch.zeros_like(leaf) if slope is None else slope
                for leaf, slope in zip(leaves, torch.autograd.grad(total, leaves, allow_unused=True), strict=True)
            ]
        if any(needed[: len(read)]):
            rest = iter(torch.split(slopes[0][mine], [len(tile.anchors) for tile in tiles]))
            for tile in tiles:
                places = [tile.rows, *[tile.columns] * (sides - 1)]
                leaves_of_tile = gradients.leaves(places, len(owned))
                with torch.enable_grad():
                    logits, factor = matrix.tile(tile.rows, tile.columns, leaves_of_tile)
                of_positives = next(rest)
                slope = _slope(
                    logits.detach(),  # a new tensor, of which nobody keeps anything: it is written over
                    relation.negatives(tile.rows, tile.columns),
                    tile,
                    (slopes[1][tile.rows], against[tile.rows]),
                    (slopes[2][tile.columns], against_columns[tile.columns]) if symmetric else None,
                )
                slope[tile.anchors, tile.answers] += of_positives.to(slope.dtype)
                gradients.add(logits, [*leaves_of_tile, *owned], places, slope)
                if isinstance(factor, Tensor) and matrix.margin and gradients.sums[sides] is not None:
                    gradients.sums[sides].sub_(matrix.margin * of_positives.sum())  # type: ignore[union-attr]
        shared = [None if part is None else part * relation.copies for part in gradients.sums]
        names[:] = result.counts
        sums = torch.stack(
            [number(value, total) for value in (1 if symmetric else result.weight, *result.counts.values())]
        )
        return total.detach(), sums, [*shared, *slopes[3:]]

    total, sums = WithGradients.apply(  # type: ignore[no-untyped-call]
        walk, queries.values, documents.values, *given, *owned, *per_row
    )
    return LossResult(total, sums[0], dict(zip(names, sums[1:], strict=True)))


def _logsumexps(logits: Tensor, mask: Tensor, tile: _Tile, both: bool) -> tuple[Tensor, Tensor]:
    """The log of Σ exp of a tile's rows and columns under a mask; logits are written over."""
    if not both or not tile.high - tile.low < _RANGE:
        of_columns = masked_logsumexp(logits.T, mask.T) if both else logits[:0].sum(0)
        return masked_logsumexp(logits, mask), of_columns
    exponents = logits.sub_(tile.high).exp_().mul_(mask)
    return exponents.sum(1).log_().add_(tile.high), exponents.sum(0).log_().add_(tile.high)


def _slope(
    logits: Tensor,
    mask: Tensor,
    tile: _Tile,
    by_row: tuple[Tensor, Tensor],
    by_column: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """The gradient of a tile's logits by what stands against rows and columns: softmaxes times these slopes.

    Args:
        logits: (r, c), which are written over.
        mask: (r, c) bool, what counts.
        tile: of which they are.
        by_row: the slopes (r,), and what stands against the rows (r,), −inf for nothing.
        by_column: likewise (c,).
    """
    if tile.high - tile.low < _RANGE:
        exponents = logits.sub_(tile.high).exp_().mul_(mask)
        factor = _factor(*by_row, tile.high)[:, None]
        if by_column is not None:
            factor = factor + _factor(*by_column, tile.high)[None, :]
        return exponents.mul_(factor)
    slopes, against = by_row
    slope = torch.where(mask, logits - against[:, None], -torch.inf).exp_().mul_(slopes[:, None])
    if by_column is not None:
        slopes, against = by_column
        slope += torch.where(mask, logits - against, -torch.inf).exp_().mul_(slopes)
    return slope


def _factor(slopes: Tensor, against: Tensor, high: float) -> Tensor:
    return torch.where(against > -torch.inf, slopes * (high - against).exp(), 0.0)


def _faced(against: Tensor, beside: Tensor | None) -> Tensor:
    """What stands against each anchor, with one more logit; two of −inf must not give a gradient of NaN."""
    if beside is None:
        return against
    there = beside > -torch.inf
    return torch.where(there, torch.logaddexp(against, torch.where(there, beside, 0.0)), against)


def _summed(formula: Formula, positives: Tensor, anchors: Tensor, against: Tensor) -> LossResult:
    counts = torch.zeros_like(against).index_add(0, anchors, torch.ones_like(anchors, dtype=against.dtype))
    total = formula(positives, anchors, against, counts)
    return LossResult(total, (counts > 0).sum(), anchor_counts(counts > 0, against > -torch.inf))
