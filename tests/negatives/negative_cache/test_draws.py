"""Documents drawn from a softmax, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from simlearn.negatives.negative_cache.draws import (
    Chances,
    Draw,
    best_of_groups,
    best_of_tiles,
    draw_tile,
    draw_tiles,
)

DRAWS = 20_000


def logits() -> Tensor:
    """Three queries and 50 documents, of which some cannot be drawn."""
    made = 2 * torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    made[:, ::7] = -torch.inf
    return made


def tiles(whole: Tensor, step: int) -> Iterator[tuple[int, Tensor]]:
    return ((first, whole[:, first : first + step]) for first in range(0, whole.shape[1], step))


def check(draw: Draw, whole: Tensor) -> None:
    """The log-sum-exp, and by χ² the distribution, of draws for many copies of each query."""
    torch.testing.assert_close(draw.lse, whole.logsumexp(1).repeat_interleave(DRAWS), rtol=1e-6, atol=1e-6)
    copies = whole.repeat_interleave(DRAWS, 0)
    assert torch.equal(draw.logits, copies.gather(1, draw.rows))
    chances = whole.softmax(1)
    counts = torch.stack([torch.bincount(own, minlength=50) for own in draw.rows[:, 0].view(3, DRAWS)])
    possible = chances > 0
    assert not counts[~possible].any()
    expected = DRAWS * chances[possible]
    chi_squared = float(((counts[possible] - expected) ** 2 / expected).sum())
    freedom = int(possible.sum()) - 3
    assert chi_squared < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("step", [50, 8, 1])
def test_tiles_draw_from_the_softmax_of_all(step: int) -> None:
    whole = logits()
    copies = whole.repeat_interleave(DRAWS, 0)
    chances = Chances(seed=1, step=2)
    draw = draw_tiles(tiles(copies, step), Draw.nothing(copies, 1), lambda use: chances.numbers(copies, 1, use))
    check(draw, whole)


@pytest.mark.parametrize("parts", [2, 3])
def test_draws_merge(parts: int) -> None:
    """As of several caches, or of shards on other processes."""
    whole = logits()
    copies = whole.repeat_interleave(DRAWS, 0)
    chances = Chances(seed=4, step=0)
    draw, first = Draw.nothing(copies, 1), 0
    for number, part in enumerate(copies.chunk(parts, dim=1)):
        own = draw_tile(part, chances.numbers(copies, 1, 2 * number), first)
        draw = draw.merged(own, chances.numbers(copies, 1, 2 * number + 1))
        first += part.shape[1]
    check(draw, whole)


def test_of_nothing_nothing_is_drawn() -> None:
    like = torch.zeros(2, 0)
    nothing = Draw.nothing(like, 3)
    assert nothing.rows.tolist() == [[-1] * 3] * 2 and nothing.lse.tolist() == [-torch.inf] * 2
    impossible = draw_tile(torch.full((2, 4), -torch.inf), torch.zeros(2, 3))
    assert torch.equal(impossible.rows, nothing.rows)
    merged = nothing.merged(draw_tile(torch.zeros(2, 4), torch.rand(2, 3), 10), torch.rand(2, 3))
    assert bool((merged.rows >= 10).all()) and torch.equal(merged.lse, torch.full((2,), 4.0).log())
    torch.testing.assert_close(merged.merged(impossible, torch.rand(2, 3)), merged)


def test_the_best() -> None:
    whole = logits()
    expected = whole.topk(5, dim=1)
    for step in (50, 8, 3):
        top = best_of_tiles(tiles(whole, step), whole, 5)
        assert torch.equal(top.logits, expected.values) and torch.equal(top.rows, expected.indices)
    groups = best_of_groups(tiles(whole, 10), whole, 5)
    assert torch.equal(groups.logits, whole.view(3, 10, 5).amax(2))
    assert torch.equal(whole.gather(1, groups.rows), groups.logits)
    few = best_of_tiles(tiles(whole[:, :2], 2), whole, 5)
    assert few.logits.isinf().sum() == 3 * 3 + 3, "of fewer documents the rest is nothing"


def test_chances_are_of_the_query_and_not_of_who_draws() -> None:
    like = torch.zeros(6, 0)
    whole = Chances(3, 7).numbers(like, 2, 1)
    second = Chances(3, 7, first=4).numbers(like[:2], 2, 1)
    assert torch.equal(whole[4:], second) and whole.unique().numel() == 12
    assert not torch.equal(whole, Chances(3, 8).numbers(like, 2, 1))
    many = Chances(0, 0).numbers(torch.zeros(50_000, 0), 1, 0)
    assert float(many.min()) >= 0 and float(many.max()) < 1 and float(many.mean()) == pytest.approx(0.5, abs=0.01)
