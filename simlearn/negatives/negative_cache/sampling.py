"""What one piece of a cache has to offer, and how a choice is made of all pieces.

A piece may be a cache of several, or a shard that lies in another process. What two pieces offer merges exactly, so it
does not matter how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.draws import Draw, Top, add_up, best_of_groups, best_of_tiles, draw_tiles

Numbers = Callable[[int], Tensor]
"""From the number of a use to uniform numbers (N, S) in [0, 1), others for each."""


class Found(NamedTuple):
    """What some documents have to offer N queries.

    Args:
        lse: (N,) the log-sum-exp of the logits.
        draw: by the softmax of the logits times `inv_temp`; of nothing where `top` decides.
        top: the best documents, where one of them will be taken.
    """

    lse: Tensor
    draw: Draw
    top: Top | None

    def moved(self, first: int) -> Found:
        """The same of documents whose rows begin at `first`."""

        def rows(own: Tensor) -> Tensor:
            return torch.where(own < 0, own, own + first)

        draw = self.draw._replace(rows=rows(self.draw.rows))
        return Found(self.lse, draw, None if self.top is None else self.top._replace(rows=rows(self.top.rows)))

    def merged(self, other: Found, config: NegativeCacheConfig, chances: Tensor) -> Found:
        """What both have to offer, by uniform numbers (N, S) in [0, 1)."""
        if self.top is None or other.top is None:
            return Found(torch.logaddexp(self.lse, other.lse), self.draw.merged(other.draw, chances), None)
        top = self.top.beside(other.top) if config.groups else self.top.merged(other.top)
        lse = torch.logaddexp(self.lse, other.lse) if config.top_k is None else top.lse()
        return Found(lse, self.draw, top)


def find(
    tiles: Iterator[tuple[int, Tensor]], like: Tensor, config: NegativeCacheConfig, group: int, numbers: Numbers
) -> Found:
    """What documents have to offer whose logits come in tiles.

    Args:
        tiles: the first row of each, and its logits (N, K).
        like: (N, ...) tells N, dtype and device.
        config: how negatives are drawn.
        group: the rows of a group; tiles hold whole groups.
        numbers: chance.
    """
    nothing = Draw.nothing(like, config.samples)
    if config.top_k is not None:
        top = best_of_groups(tiles, like, group) if config.groups else best_of_tiles(tiles, like, config.top_k)
        return Found(top.lse(), nothing, top)
    if config.sampler == "softmax" and config.inv_temp == 1:
        draw = draw_tiles(tiles, nothing, numbers)
        return Found(draw.lse, draw, None)
    sums = [nothing.lse]
    summed = add_up(tiles, sums)
    if config.sampler == "highest":
        top = best_of_tiles(summed, like, 1)
        return Found(sums[0], nothing, top)
    draw = draw_tiles(((first, config.inv_temp * tile) for first, tile in summed), nothing, numbers)
    return Found(sums[0], draw, None)


def choose(found: Found, config: NegativeCacheConfig, numbers: Numbers) -> tuple[Draw, Tensor]:
    """The documents that are taken, and what each weighs, so that on average they have the gradient of all.

    Returns:
        A draw, whose `lse` is that of all documents, and weights (N, S).
    """
    if config.sampler == "highest" and found.top is not None:
        best = found.top.first()
        return best._replace(lse=found.lse), torch.ones_like(best.logits)
    draw = found.draw
    if found.top is not None:
        draw = found.top._replace(logits=config.inv_temp * found.top.logits).draw(numbers(0))
    if config.inv_temp == 1:
        return draw._replace(lse=found.lse), torch.ones_like(draw.logits)
    chosen = Draw(found.lse, draw.rows, draw.logits / config.inv_temp)
    gap = (chosen.logits - chosen.lse[:, None]) - (draw.logits - draw.lse[:, None])
    return chosen, torch.where(draw.rows >= 0, gap, 0.0).exp()
