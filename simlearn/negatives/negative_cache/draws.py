"""Documents drawn from a softmax over many, piece by piece.

A *draw* of some documents is the log-sum-exp of their logits, and rows that were drawn from their softmax. Two draws
merge exactly: the log-sum-exps add up, and a row of the second takes the place of one of the first with the probability
of its share. So the documents may come in tiles, in several caches, or lie on several processes: no matrix of all
logits is ever there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.hashing.mixing import mixed


class Draw(NamedTuple):
    """What was drawn for each of N queries.

    Args:
        lse: (N,) the log of Σ exp of all logits; −inf where there was nothing to draw from.
        rows: (N, S) int64, S rows drawn with replacement, each with the probability softmax of its logit; −1 for none.
        logits: (N, S) of these rows.
    """

    lse: Tensor
    rows: Tensor
    logits: Tensor

    @classmethod
    def nothing(cls, like: Tensor, samples: int) -> Draw:
        """Of no documents; `like` (N, ...) tells N, dtype and device."""
        lse = like.new_full((len(like),), -torch.inf)
        rows = torch.full((len(like), samples), -1, dtype=torch.long, device=like.device)
        return cls(lse, rows, lse[:, None].expand(-1, samples))

    def merged(self, other: Draw, chances: Tensor) -> Draw:
        """A draw of the documents of both, by uniform numbers (N, S) in [0, 1)."""
        takes = chances < share_of(other.lse, self.lse)[:, None]
        return Draw(
            torch.logaddexp(self.lse, other.lse),
            torch.where(takes, other.rows, self.rows),
            torch.where(takes, other.logits, self.logits),
        )


def share_of(own: Tensor, other: Tensor) -> Tensor:
    """The part (N,) that one log-sum-exp has of two; 0 where it is −inf."""
    return torch.where(own > -torch.inf, torch.sigmoid(own - other), 0.0)


@dataclass(frozen=True)
class Chances:
    """Uniform numbers that depend on a seed, a step and the query's row alone, not on who draws or has drawn before.

    Args:
        seed: of all drawing.
        step: how many draws there were before.
        first: the row of the first of the queries among those of all processes.
    """

    seed: int
    step: int
    first: int = 0

    def numbers(self, like: Tensor, samples: int, use: int) -> Tensor:
        """(N, S) in [0, 1), of the dtype and on the device of `like` (N, ...); other ones for each use."""
        cells = torch.arange(len(like), device=like.device)[:, None] + self.first
        cells = cells * samples + torch.arange(samples, device=like.device)
        bits = mixed(cells, self.seed, self.step, use) >> 40 & 2**24 - 1
        return bits.to(like.dtype) / 2**24


def draw_tile(logits: Tensor, chances: Tensor, first: int = 0) -> Draw:
    """A draw of documents whose logits (N, K) are there, the first of which is row `first`; of −inf none is drawn.

    By the inverse of the cumulative sum: exact but for the rounding of it.
    """
    if not logits.shape[1]:
        return Draw.nothing(logits, chances.shape[1])
    lse = logits.logsumexp(1)
    return Draw(lse, *_picked(logits, chances, first))


def _picked(logits: Tensor, chances: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Rows (N, S) and their logits, drawn from the softmax of logits (N, K)."""
    top = logits.amax(1, keepdim=True)
    there = top > -torch.inf
    sums = (logits - torch.where(there, top, 0.0)).exp_().cumsum_(1)
    # Just above the sum before, so that what has no weight is never met; 1 may come of rounding.
    sought = (chances * sums[:, -1:]).minimum(torch.nextafter(sums[:, -1:], sums.new_zeros(())))
    places = torch.searchsorted(sums, sought, right=True).clamp_(max=logits.shape[1] - 1)
    return torch.where(there, places + first, -1), torch.where(there, logits.gather(1, places), -torch.inf)


def draw_tiles(tiles: Iterator[tuple[int, Tensor]], nothing: Draw, chances: Callable[[int], Tensor]) -> Draw:
    """A draw of documents whose logits come in tiles.

    Only queries whose row moves into a tile need its cumulative sums: after the first tiles these are few.

    Args:
        tiles: the first row of each, and its logits (N, K).
        nothing: the draw of no documents.
        chances: from a number to uniform numbers (N, S); others for each number.
    """
    lse, rows, logits = nothing.lse, nothing.rows.clone(), nothing.logits.clone()
    for number, (first, tile) in enumerate(tiles):
        of_tile = tile.logsumexp(1) if tile.shape[1] else nothing.lse
        takes = chances(2 * number) < share_of(of_tile, lse)[:, None]
        lse = torch.logaddexp(lse, of_tile)
        moved = takes.any(1).nonzero()[:, 0]
        if len(moved):
            found, theirs = _picked(tile[moved], chances(2 * number + 1)[moved], first)
            rows[moved] = torch.where(takes[moved], found, rows[moved])
            logits[moved] = torch.where(takes[moved], theirs, logits[moved])
    return Draw(lse, rows, logits)


def add_up(tiles: Iterator[tuple[int, Tensor]], sums: list[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """The same tiles; `sums[0]` (N,) becomes the log-sum-exp of those that went by."""
    for first, tile in tiles:
        if tile.shape[1]:
            sums[0] = torch.logaddexp(sums[0], tile.logsumexp(1))
        yield first, tile


class Top(NamedTuple):
    """The best of some documents for each of N queries.

    Args:
        logits: (N, k), −inf for none.
        rows: (N, k) int64.
    """

    logits: Tensor
    rows: Tensor

    @classmethod
    def nothing(cls, like: Tensor, k: int) -> Top:
        """Of no documents; `like` (N, ...) tells N, dtype and device."""
        rows = torch.full((len(like), k), -1, dtype=torch.long, device=like.device)
        return cls(like.new_full((len(like), k), -torch.inf), rows)

    def merged(self, other: Top) -> Top:
        """The best of both, as many as there were here."""
        both = self.beside(other)
        best = both.logits.topk(self.logits.shape[1], dim=1)
        return Top(best.values, both.rows.gather(1, best.indices))

    def beside(self, other: Top) -> Top:
        """These and the others, as the best of one group more each."""
        return Top(torch.cat([self.logits, other.logits], 1), torch.cat([self.rows, other.rows], 1))

    def lse(self) -> Tensor:
        """(N,) the log-sum-exp of these."""
        return self.logits.logsumexp(1)

    def first(self) -> Draw:
        """The best of all, in the place of one that is drawn."""
        if not self.logits.shape[1]:
            return Draw.nothing(self.logits, 1)
        best = self.logits.argmax(1, keepdim=True)
        rows, logits = self.rows.gather(1, best), self.logits.gather(1, best)
        return Draw(self.lse(), torch.where(logits > -torch.inf, rows, -1), logits)

    def draw(self, chances: Tensor) -> Draw:
        """A draw of these alone."""
        of_places = draw_tile(self.logits, chances)
        if not self.logits.shape[1]:
            return of_places
        rows = self.rows.gather(1, of_places.rows.clamp(min=0))
        return of_places._replace(rows=torch.where(of_places.rows < 0, -1, rows))


def best_of_tiles(tiles: Iterator[tuple[int, Tensor]], nothing: Tensor, k: int) -> Top:
    """The k best documents of each query, whose logits come in tiles; `nothing` (N, ...) tells N, dtype and device."""
    found = Top.nothing(nothing, k)
    for first, tile in tiles:
        best = tile.topk(min(k, tile.shape[1]), dim=1)
        found = found.merged(Top(best.values, best.indices + first))
    return found


def best_of_groups(tiles: Iterator[tuple[int, Tensor]], nothing: Tensor, size: int) -> Top:
    """The best document of each group of `size` rows in a row; tiles hold whole groups. `nothing`: as above."""
    found = Top.nothing(nothing, 0)
    for first, tile in tiles:
        best = tile.view(len(tile), -1, size).max(2)
        starts = torch.arange(0, tile.shape[1], size, device=tile.device) + first
        found = found.beside(Top(best.values, best.indices + starts))
    return found
