"""Cutting what a tower encodes into chunks of so many tokens, padding counted.

1. The tokens of every object are counted, for each part of the tower.
2. Objects are put in order of length, so that a chunk pads little, and cut where the next one would burst the budget.
3. Each chunk is padded for itself; `InputChunks` remembers where each object went.

The chunks depend on nothing but the lengths: two runs, and the recomputation of a chunk, see the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simlearn.encoders.tokens import Tokens, count_tokens, tokenising
from simlearn.towers.inputs import CachedRows, InputChunks, Inputs
from simlearn.towers.plan import TowerCollator

Lookups = Mapping[str, Callable[[list[Any]], Any]]


def cut_by_tokens(lengths: NDArray[np.int64], budget: int) -> list[NDArray[np.int64]]:
    """Put N objects into chunks whose padded size stays within a budget.

    Args:
        lengths: (N, P) tokens of each object in each of P parts, which are padded for themselves.
        budget: the most tokens of a chunk: its number of objects times the sum, over parts, of the longest.

    Returns:
        The objects of each chunk, longest first; every object is in one chunk. An object that is larger than the
        budget has a chunk to itself.

    >>> [chunk.tolist() for chunk in cut_by_tokens(np.array([[2], [9], [3], [2]]), 8)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-lengths.sum(axis=1), kind="stable")
    chunks: list[NDArray[np.int64]] = []
    start = 0
    longest = [0] * lengths.shape[1]
    for place, row in enumerate(lengths[order].tolist()):
        grown = [max(pair) for pair in zip(longest, row, strict=True)]
        if place > start and (place - start + 1) * sum(grown) > budget:
            chunks.append(order[start:place])
            start, grown = place, row
        longest = grown
    return [*chunks, order[start:]] if len(order) else []


def collate_within(
    tower: TowerCollator, objects: list[Any], budget: int, known: Lookups | None = None
) -> Inputs | InputChunks:
    """Collate N objects for a tower, in chunks where they burst the budget.

    Args:
        tower: the tower's collator.
        objects: the objects.
        budget: tokens of a chunk, padding counted; see `cut_by_tokens`.
        known: see `TowerCollator`; parts whose embeddings are cached cost nothing.

    Raises:
        TypeError: for an encoder that cannot count tokens, naming it.
    """
    parts = {
        part.name: _prepared(part.pick(objects), collate, part.encoder, (known or {}).get(part.name))
        for part, collate in zip(tower.parts, tower.collate_fns, strict=True)
    }
    return _within(budget, parts, lambda places: _chunk(tower, objects, places, parts))


class TokenTable(Protocol):
    """The tokens of many objects, by row."""

    def take(self, rows: Tensor) -> Tokens:
        """Those of the objects at rows (n,)."""
        ...

    def pad(self, tokens: Tokens) -> Any:
        """What the encoder takes."""
        ...


def select_inputs(
    rows: Mapping[str, Tensor], tokens: Mapping[str, TokenTable], size: int | None = None, budget: int | None = None
) -> Inputs | InputChunks:
    """The inputs of N objects of which everything is kept: no object is looked at.

    Args:
        rows: for each part of a tower, by name, where its vectors or tokens (N,) are.
        tokens: the parts of which tokens are kept; of the others it is vectors.
        size: objects of a chunk; None does not cut them.
        budget: tokens of a chunk, instead; see `cut_by_tokens`.
    """
    parts = {name: _of_table(own, tokens.get(name)) for name, own in rows.items()}
    everything = torch.arange(len(next(iter(rows.values()))))
    if tokens and budget is not None:
        return _within(budget, parts, lambda places: _selected(parts, places))
    if tokens and size is not None:
        return InputChunks(tuple(_selected(parts, places) for places in torch.split(everything, size)))
    return _selected(parts, everything)


@dataclass(frozen=True)
class _Prepared:
    """What one part reads of N objects.

    Args:
        lengths: (N,) tokens.
        select: what the encoder takes of the objects at given places (n,); None where it is collated chunk by chunk.
    """

    lengths: Tensor
    select: Callable[[Tensor], Any] | None = None


def _prepared(picked: list[Any], collate: Any, encoder: str, known: Callable[[list[Any]], Any] | None) -> _Prepared:
    split = tokenising(collate if known is None else known)
    if split is not None:
        return _of_tokens(split.tokenize(picked), split.pad)
    if known is not None:
        found: CachedRows = known(picked)
        return _of_vectors(found.rows)
    return _Prepared(count_tokens(collate, picked, encoder))


def _of_table(rows: Tensor, table: TokenTable | None) -> _Prepared:
    return _of_vectors(rows) if table is None else _of_tokens(table.take(rows), table.pad)


def _of_tokens(tokens: Tokens, pad: Callable[[Tokens], Any]) -> _Prepared:
    return _Prepared(tokens.lengths, lambda places: pad(tokens.take(places)))


def _of_vectors(rows: Tensor) -> _Prepared:
    """Embeddings that are cached cost no tokens."""
    return _Prepared(torch.zeros(len(rows), dtype=torch.long), lambda places: CachedRows(rows[places]))


def _within(budget: int, parts: Mapping[str, _Prepared], make: Callable[[Tensor], Inputs]) -> Inputs | InputChunks:
    """The inputs of N objects, made of the places (n,) of some of them; in chunks where they burst the budget."""
    lengths = np.stack([part.lengths.numpy() for part in parts.values()], axis=1)
    chunks = [torch.from_numpy(places) for places in cut_by_tokens(lengths, budget)]
    if len(chunks) < 2:  # as without a budget, in the order of the objects
        return make(torch.arange(len(lengths)))
    return InputChunks(tuple(map(make, chunks)), torch.cat(chunks).argsort())


def _selected(parts: Mapping[str, _Prepared], places: Tensor) -> Inputs:
    features = {name: part.select(places) for name, part in parts.items() if part.select is not None}
    return Inputs(features, {}, len(places))


def _chunk(tower: TowerCollator, objects: Sequence[Any], places: Tensor, parts: Mapping[str, _Prepared]) -> Inputs:
    ready = {name: _given(part.select(places)) for name, part in parts.items() if part.select is not None}
    return tower([objects[place] for place in places.tolist()], ready)


def _given(features: Any) -> Callable[[list[Any]], Any]:
    return lambda picked: features
