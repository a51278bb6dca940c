"""A softmax loss whose tiles are cut both ways, or whose documents ask for queries as well as queries for documents.

1. Every tile adds to the log-sum-exps of its rows, and of its columns where these ask; positives are kept.
2. The formula gives the loss, and its gradient by these few numbers.
3. Every tile is scored again. From these gradients follows that of its scores, a softmax of rows plus one of columns.

Both directions share each tile, so that a symmetric loss costs four matrix products where two losses would cost six.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.distributed import gather_parts, rank
from simlearn.embeddings import Embeddings
from simlearn.losses.formula import Formula, margin_of, over_positives, with_one_more
from simlearn.losses.logsumexp import masked_logsumexp
from simlearn.losses.loss_result import LossResult
from simlearn.losses.tiling import Gradients, learnt_by, own_rows, part_of, tiles_of, with_gradients
from simlearn.precision import at_least_single
from simlearn.relations import Relation
from simlearn.scoring import Scorer
from simlearn.tiles import NARROWEST, TileShape, cuts

_RANGE = 60.0
"""Within it one exponential serves rows and columns: e^−60 is far from what fp32 calls zero."""


@dataclass(frozen=True)
class Logits:
    """How scores become logits.

    Args:
        scale: multiplied with scores; a tensor stands for one that is learnt, and is given anew for each tile.
        margin: taken from the scores of positives.
        has_columns: whether each document has a number (M,) that is added to its logits.
        spares_positives: whether it is not added to those of positives, nor where documents ask for queries.
    """

    scale: Tensor | float
    margin: float
    has_columns: bool
    spares_positives: bool = False

    def __call__(self, scores: Tensor, given: Sequence[Tensor]) -> tuple[Tensor, Tensor | float]:
        """Logits, a new tensor, and the margin in their unit; `given` are the tile's columns, and a learnt scale."""
        factor = given[-1] if isinstance(self.scale, Tensor) else self.scale
        logits, margin = scores * factor, self.margin * factor
        if not self.has_columns:
            return logits, margin
        return logits + given[0], margin + given[0] if self.spares_positives else margin


def two_walks(
    queries: Embeddings,
    documents: Embeddings,
    relation: Relation,
    scorer: Scorer,
    formula: Formula,
    logits_of: Logits,
    given: Sequence[Tensor],
    per_row: Sequence[Tensor],
    symmetric: bool,
    tile_bytes: int,
) -> LossResult:
    """The loss of prepared embeddings; see `contrast` for what they are."""
    shape = tiles_of(queries, documents, scorer, tile_bytes, narrowest=NARROWEST)
    owned = learnt_by(scorer)
    matrix = _Matrix(queries, documents, relation, scorer, logits_of, owned, shape, symmetric)

    def walk(needed: Sequence[bool], *tensors: Tensor) -> tuple[LossResult, list[Tensor | None]]:
        read = tensors[: len(tensors) - len(per_row)]
        gradients = Gradients(read, needed[: len(read)])
        seen = _gathered(matrix, _first_walk(matrix, gradients))
        spared = tensors[2] if logits_of.spares_positives else None
        result, slopes = _loss(formula, seen, tensors[len(read) :], symmetric, spared)
        if any(needed[: len(read)]):
            _second_walk(matrix, gradients, seen, slopes)
        sums = gradients.sums
        if relation.copies > 1:  # DDP averages
            sums = [None if one is None else one * relation.copies for one in sums]
        return result, [*sums, *slopes.per_row]

    return with_gradients(walk, queries.values, documents.values, *given, *owned, *per_row)


class _Tile(NamedTuple):
    """What the first walk keeps of a tile: its place, the least and the largest logit, where its positives are."""

    rows: slice
    columns: slice
    low: float
    high: float
    anchors: Tensor
    answers: Tensor

    @property
    def is_narrow(self) -> bool:
        """Whether the exponentials of all logits, divided by the largest, are numbers that can be told from 0."""
        return self.high - self.low < _RANGE


@dataclass(frozen=True)
class _Matrix:
    """The matrix of logits, tile by tile."""

    queries: Embeddings
    documents: Embeddings
    relation: Relation
    scorer: Scorer
    logits_of: Logits
    owned: Sequence[Tensor]
    shape: TileShape
    symmetric: bool

    def places(self, rows: slice, columns: slice) -> list[slice]:
        """Where a tile lies in the tensors that are cut: queries, documents, and the numbers of documents."""
        return [rows, columns, columns] if self.logits_of.has_columns else [rows, columns]

    def tile(self, rows: slice, columns: slice, leaves: Sequence[Tensor]) -> tuple[Tensor, Tensor | float]:
        """The logits of a tile, and the margin."""
        queries, documents = part_of(self.queries, rows, leaves[0]), part_of(self.documents, columns, leaves[1])
        return self.logits_of(self.scorer.tile(queries, documents), leaves[2:])


@dataclass(frozen=True)
class _Seen:
    """What the first walk found.

    Args:
        tiles: those of this process.
        positives: (P,) their logits.
        anchors: (P,) their rows.
        answers: (P,) their columns.
        against: (N,) what stands against each row; against each column (M,), where these ask.
        against_columns: likewise.
        mine: which positives this process found.
    """

    tiles: list[_Tile]
    positives: Tensor
    anchors: Tensor
    answers: Tensor
    against: Tensor
    against_columns: Tensor
    mine: slice


class _Slopes(NamedTuple):
    """The gradient of the loss by what was seen, and by the further logits of the rows."""

    positives: Tensor
    against: Tensor
    against_columns: Tensor
    per_row: Sequence[Tensor]


def _first_walk(matrix: _Matrix, gradients: Gradients) -> _Seen:
    dtype = at_least_single(matrix.queries.values)
    against = matrix.queries.values.new_full((len(matrix.queries),), -torch.inf, dtype=dtype)
    against_columns = against.new_full((len(matrix.documents),), -torch.inf)
    tiles: list[_Tile] = []
    found: list[Tensor] = []
    for rows in own_rows(matrix.relation, matrix.shape.rows):
        for columns in cuts(0, len(matrix.documents), matrix.shape.columns):
            leaves = gradients.leaves(matrix.places(rows, columns), len(matrix.owned))
            with torch.no_grad():
                logits, margin = matrix.tile(rows, columns, leaves)
            anchors, answers = matrix.relation.positives(rows, columns).nonzero(as_tuple=True)
            found.append(logits[anchors, answers] - margin_of(margin, answers))
            low, high = (float(bound) for bound in logits.aminmax()) if logits.numel() else (0.0, 0.0)
            tile = _Tile(rows, columns, low, high, anchors, answers)
            of_rows, of_columns = _logsumexps(logits, matrix.relation.negatives(rows, columns), tile, matrix.symmetric)
            against[rows] = torch.logaddexp(against[rows], of_rows.to(dtype))
            if matrix.symmetric:
                against_columns[columns] = torch.logaddexp(against_columns[columns], of_columns.to(dtype))
            tiles.append(tile)
    positives = torch.cat(found)
    anchors = torch.cat([tile.anchors + tile.rows.start for tile in tiles])
    answers = torch.cat([tile.answers + tile.columns.start for tile in tiles])
    return _Seen(tiles, positives, anchors, answers, against, against_columns, slice(0, len(positives)))


def _gathered(matrix: _Matrix, seen: _Seen) -> _Seen:
    """What all processes have seen: every one makes the whole loss of it, and its own share of the gradients."""
    if matrix.relation.copies == 1:
        return seen
    own = slice(seen.tiles[0].rows.start, seen.tiles[-1].rows.stop)
    parts = gather_parts([seen.positives, seen.anchors, seen.answers, seen.against[own], seen.against_columns])
    before = sum(len(part) for part in parts[0][: rank()])
    positives, anchors, answers, against = (torch.cat(part) for part in parts[:4])
    return replace(
        seen,
        positives=positives,
        anchors=anchors,
        answers=answers,
        against=against,
        against_columns=torch.stack(parts[4]).logsumexp(0),
        mine=slice(before, before + len(seen.positives)),
    )


def _loss(
    formula: Formula, seen: _Seen, per_row: Sequence[Tensor], symmetric: bool, spared: Tensor | None
) -> tuple[LossResult, _Slopes]:
    """The loss without a graph, and its slopes; `spared` (M,) is taken back where documents ask."""
    with torch.enable_grad():
        leaves = [
            tensor.detach().requires_grad_()
            for tensor in (seen.positives, seen.against, seen.against_columns, *per_row)
        ]
        against = with_one_more(leaves[1], leaves[3]) if per_row else leaves[1]
        result = over_positives(formula, leaves[0], seen.anchors, against)
        if symmetric:
            back = over_positives(formula, leaves[0], seen.answers, leaves[2] if spared is None else leaves[2] - spared)
            result = LossResult((result.value + back.value) / 2, 1, result.counts)
        found = torch.autograd.grad(result.total, leaves, allow_unused=True)
    slopes = [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]
    return result._replace(total=result.total.detach()), _Slopes(slopes[0], slopes[1], slopes[2], slopes[3:])


def _second_walk(matrix: _Matrix, gradients: Gradients, seen: _Seen, slopes: _Slopes) -> None:
    """Add the gradients of all tiles."""
    of_positives = torch.split(slopes.positives[seen.mine], [len(tile.anchors) for tile in seen.tiles])
    for tile, of_answers in zip(seen.tiles, of_positives, strict=True):
        rows, columns = tile.rows, tile.columns
        places = matrix.places(rows, columns)
        leaves = gradients.leaves(places, len(matrix.owned))
        with torch.enable_grad():
            logits, margin = matrix.tile(rows, columns, leaves)
        slope = _slope(
            logits.detach(),  # a new tensor, of which nobody keeps anything: it is written over
            matrix.relation.negatives(rows, columns),
            tile,
            (slopes.against[rows], seen.against[rows]),
            (slopes.against_columns[columns], seen.against_columns[columns]) if matrix.symmetric else None,
        )
        slope[tile.anchors, tile.answers] += of_answers.to(slope.dtype)
        gradients.add(logits, [*leaves, *matrix.owned], places, slope)
        if isinstance(margin, Tensor) and margin.requires_grad:  # of a learnt scale
            taken = -of_answers.to(margin.dtype)
            outer = torch.zeros_like(margin).index_add(0, tile.answers, taken) if margin.ndim else taken.sum()
            gradients.add(margin, [*leaves, *matrix.owned], places, outer)


def _logsumexps(logits: Tensor, mask: Tensor, tile: _Tile, both: bool) -> tuple[Tensor, Tensor]:
    """The log of Σ exp of a tile's rows and columns under a mask; logits are written over."""
    if not both or not tile.is_narrow:
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
    if tile.is_narrow:
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
