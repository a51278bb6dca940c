"""Chunks of a token budget hold every object once, stay within it, and give each object its own embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from torch import Tensor

from simlearn.encoders import Encoder
from simlearn.towers import Fields
from simlearn.towers.inputs import CachedRows, InputChunks, Inputs
from simlearn.towers.plan import TowerCollator, plan
from simlearn.towers.token_budget import collate_within, cut_by_tokens


@given(
    st_numpy.arrays(np.int64, st.tuples(st.integers(0, 30), st.integers(1, 3)), elements=st.integers(0, 20)),
    st.integers(1, 60),
)
def test_every_object_is_in_one_chunk_within_the_budget(lengths: Any, budget: int) -> None:
    chunks = cut_by_tokens(lengths, budget)
    assert sorted(row for chunk in chunks for row in chunk) == list(range(len(lengths)))
    for chunk, following in zip(chunks, [*chunks[1:], None], strict=False):
        own = lengths[chunk]
        assert len(chunk) == 1 or len(chunk) * own.max(axis=0).sum() <= budget
        if following is not None:  # the next one would not have fitted
            grown = lengths[[*chunk, following[0]]]
            assert len(grown) * grown.max(axis=0).sum() > budget
    totals = [int(lengths[row].sum()) for chunk in chunks for row in chunk]
    assert totals == sorted(totals, reverse=True)


class Counted:
    """Pads lists of numbers, and can count them."""

    def __call__(self, objects: list[Any]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(obj, dtype=torch.float) for obj in objects], True)

    def lengths(self, objects: list[Any]) -> list[int]:
        return [len(obj) for obj in objects]


class Sums(Encoder):
    @property
    def embedding_size(self) -> int:
        return 1

    def get_collate_fn(self) -> Any:
        return Counted()

    def get_meta_extractor(self) -> Any:
        return lambda objects: [{"length": len(obj)} for obj in objects]


class Plain(Sums):
    def get_meta_extractor(self) -> Any:
        return None


class Uncounted(Plain):
    def get_collate_fn(self) -> Any:
        return len


def collator(spec: Any) -> TowerCollator:
    made = plan(spec)
    return TowerCollator.of(made["query"], made.encoders)


OBJECTS = [[1.0], [1, 2, 3], [4, 5], [6, 7, 8, 9], [2.0]]


def test_chunks_know_the_places_of_the_objects() -> None:
    chunks = collate_within(collator(Sums()), OBJECTS, 4)
    assert isinstance(chunks, InputChunks) and chunks.places is not None
    assert [chunk.features["default"].shape for chunk in chunks.chunks] == [(1, 4), (1, 3), (2, 2), (1, 1)]
    sums = torch.cat([chunk.features["default"].sum(1) for chunk in chunks.chunks])
    assert sums[chunks.places].tolist() == [1, 6, 9, 30, 2]
    lengths = torch.cat([chunk.meta["length"] for chunk in chunks.chunks])  # type: ignore[arg-type]
    assert lengths[chunks.places].tolist() == [1, 3, 2, 4, 1]
    moved = chunks.to("meta")
    assert moved.places is not None and moved.places.is_meta


def test_a_batch_that_fits_is_as_without_a_budget() -> None:
    inputs = collate_within(collator(Sums()), OBJECTS, 20)
    assert isinstance(inputs, Inputs)
    assert torch.equal(inputs.features["default"], Counted()(OBJECTS))
    assert isinstance(collate_within(collator(Sums()), OBJECTS, 19), InputChunks)
    nothing = collate_within(collator(Sums()), [], 5, {"default": lambda picked: CachedRows(torch.empty(0).long())})
    assert isinstance(nothing, Inputs) and nothing.size == 0


def test_cached_parts_cost_nothing_and_others_must_count() -> None:
    tower = collator(Fields(long=Sums(), known=Uncounted()))
    objects = [{"long": obj, "known": number} for number, obj in enumerate(OBJECTS)]
    with pytest.raises(TypeError, match="encoder 'known' cannot tell"):
        collate_within(tower, objects, 4)
    known = {"known": lambda numbers: CachedRows(10 * torch.tensor(numbers))}
    chunks = collate_within(tower, objects, 4, known)
    assert isinstance(chunks, InputChunks) and chunks.places is not None
    rows = torch.cat([chunk.features["known"].rows for chunk in chunks.chunks])
    assert rows[chunks.places].tolist() == [0, 10, 20, 30, 40]


def test_parts_are_padded_for_themselves() -> None:
    """A long title and a long text in one chunk pad each other."""
    tower = collator(Fields(title=Plain(), text=Plain()))
    objects = [{"title": [1.0] * a, "text": [1.0] * b} for a, b in [(4, 1), (1, 4), (2, 2)]]
    chunks = collate_within(tower, objects, 15)
    assert isinstance(chunks, InputChunks)
    assert [chunk.size for chunk in chunks.chunks] == [1, 2]
