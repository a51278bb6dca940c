"""One process's batches, epoch by epoch: order, workers, resuming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning_fabric.utilities.data import _set_sampler_epoch, sized_len
from number_streams import Numbers, SplitAmongWorkers, objects
from torch.utils.data import BatchSampler, Dataset, RandomSampler

from simlearn import GroupSimilarityDataLoader, SimilarityGroupSample
from simlearn.data.batch import SampleTable
from simlearn.data.bound_loader import BoundLoader

SIZE = 46


class Samples(Dataset[SimilarityGroupSample]):
    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> SimilarityGroupSample:
        return SimilarityGroupSample(float(index), index // 4)


class NoLength:
    """A sampler whose length is not known."""

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(SIZE).tolist())


RECIPES: dict[str, Callable[[], GroupSimilarityDataLoader]] = {
    "map": lambda: GroupSimilarityDataLoader(Samples(), 4),
    "groups": lambda: GroupSimilarityDataLoader(Samples(), 4, samples_per_group=2),
    "sampler": lambda: GroupSimilarityDataLoader(Samples(), 4, sampler=RandomSampler(range(SIZE))),
    "no length": lambda: GroupSimilarityDataLoader(Samples(), 4, sampler=NoLength()),
    "batch sampler": lambda: GroupSimilarityDataLoader(
        Samples(), batch_sampler=BatchSampler(RandomSampler(range(SIZE)), 4, drop_last=False)
    ),
    "stream": lambda: GroupSimilarityDataLoader(Numbers(SIZE), 4),
    "sharded": lambda: GroupSimilarityDataLoader(SplitAmongWorkers(SIZE), 4, sharded=True),
}
each_recipe = pytest.mark.parametrize("make", RECIPES.values(), ids=RECIPES)


def bound(recipe: GroupSimilarityDataLoader, **options: Any) -> BoundLoader:
    return recipe.bind(objects, **{"training": True, **options})


def epoch_of(loader: BoundLoader, epoch: int) -> list[list[float]]:
    loader.set_epoch(epoch)
    return list(loader)


@each_recipe
def test_epochs_of_one_loader(make: Any) -> None:
    loader = bound(make())
    first, second = epoch_of(loader, 0), epoch_of(loader, 1)
    assert list(loader) == second, "iterated again, an epoch is the same"
    assert epoch_of(loader, 0) == first
    assert epoch_of(bound(make()), 1) == second
    assert first != second


@each_recipe
def test_going_on_in_the_middle(make: Any) -> None:
    """As Lightning does it: of a loader without length it has read one batch more than it has trained on."""
    whole = bound(make())
    batches = epoch_of(whole, 1)
    ahead = whole.batch_count is None
    for trained in (1, 4, len(batches) - 1):
        loader = bound(make())
        loader.set_epoch(1)
        reader = iter(loader)
        for _ in range(trained + ahead):
            next(reader)
        state = json.loads(json.dumps(loader.state_dict()))
        assert state == {"epoch": 1, "batches": trained}
        resumed = bound(make())
        resumed.load_state_dict(state)
        resumed.set_epoch(1)
        assert resumed.state_dict() == state, "saved again before the first batch"
        reader = iter(resumed)
        rest = [next(reader)]
        if not ahead:
            assert resumed.state_dict()["batches"] == (trained + 1) % len(batches)
        assert rest + list(reader) == batches[trained:]
        assert resumed.state_dict() == {"epoch": 2, "batches": 0}
        assert list(resumed) == batches, "only the first time it goes on in the middle"
        assert epoch_of(resumed, 2) == epoch_of(whole, 2)
        assert epoch_of(resumed, 1) == batches


@each_recipe
def test_the_end_of_an_epoch_is_the_start_of_the_next(make: Any) -> None:
    loader = bound(make())
    assert loader.state_dict() == {"epoch": 0, "batches": 0}
    batches = list(loader)
    assert loader.state_dict() == {"epoch": 1, "batches": 0}
    loader.set_epoch(1)
    assert loader.state_dict() == {"epoch": 1, "batches": 0}, "an epoch that was only announced"
    if loader.batch_count is not None:
        reader = iter(loader)
        for _ in batches:
            next(reader)
        assert loader.state_dict() == {"epoch": 2, "batches": 0}, "trained on the last, and not asked for another"


def test_a_limited_epoch_does_not_spoil_the_next() -> None:
    loader = bound(RECIPES["map"]())
    next(iter(loader))
    second = epoch_of(loader, 1)
    assert second == epoch_of(bound(RECIPES["map"]()), 1)


@pytest.mark.parametrize("name", ["map", "stream", "no length"])
def test_workers_change_nothing(name: str) -> None:
    recipe = RECIPES[name]()
    expected = [epoch_of(bound(recipe, rank=1, world_size=2), epoch) for epoch in range(2)]
    recipe.worker_options = {"num_workers": 2}
    assert [epoch_of(bound(recipe, rank=1, world_size=2), epoch) for epoch in range(2)] == expected
    loader = bound(recipe)
    loader.load_state_dict({"epoch": 1, "batches": 3})
    assert list(loader) == epoch_of(bound(RECIPES[name]()), 1)[3:]


def test_spawned_workers() -> None:
    options = {"num_workers": 1, "multiprocessing_context": "spawn"}
    samples = [SimilarityGroupSample(float(number), number) for number in range(8)]
    recipe = GroupSimilarityDataLoader(samples, 4, **options)
    assert list(recipe.bind(objects, training=False)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@each_recipe
def test_the_recipe_is_only_read(make: Any) -> None:
    recipe = make()
    before = {name: value for name, value in vars(recipe).items() if name != "_groups"}  # which are read once
    data = recipe.source.data
    epoch_of(bound(recipe), 1)
    epoch_of(bound(recipe, training=False, rank=1, world_size=2), 2)
    assert all(vars(recipe)[name] is value for name, value in before.items())
    assert recipe.source.data is data
    assert len(list(recipe)) > 0


def test_training_shuffles_and_drops_and_evaluation_does_not() -> None:
    recipe = RECIPES["map"]()
    trained, evaluated = list(bound(recipe)), list(bound(recipe, training=False))
    assert [obj for batch in evaluated for obj in batch] == [float(number) for number in range(SIZE)]
    assert [len(batch) for batch in evaluated] == [4] * 11 + [2]
    assert [len(batch) for batch in trained] == [4] * 11
    assert trained[0] != evaluated[0]
    recipe = GroupSimilarityDataLoader(Samples(), 4, shuffle=False, drop_last=False)
    assert list(bound(recipe)) == evaluated
    recipe = GroupSimilarityDataLoader(Samples(), 4, shuffle=True, drop_last=True)
    assert [len(batch) for batch in bound(recipe, training=False)] == [4] * 11


@pytest.mark.parametrize("world_size", [2, 3])
def test_lengths(world_size: int) -> None:
    for make in RECIPES.values():
        for training in (True, False):
            loaders = [bound(make(), training=training, rank=rank, world_size=world_size) for rank in range(world_size)]
            counts = [len(list(loader)) for loader in loaders]
            if loaders[0].batch_count is None:
                with pytest.raises(TypeError, match="has no length"):
                    len(loaders[0])
            else:
                assert counts[0] == len(loaders[0])
                assert set(counts) <= ({counts[0]} if training else {counts[0], counts[0] - 1})


def test_lightning_finds_length_and_epoch() -> None:
    loader = bound(RECIPES["map"]())
    assert sized_len(loader) == 11
    assert sized_len(bound(RECIPES["stream"]())) is None
    _set_sampler_epoch(loader, 3)
    assert list(loader) == epoch_of(bound(RECIPES["map"]()), 3)
    early = iter(loader)  # asked for before the epoch is set
    _set_sampler_epoch(loader, 4)
    assert list(early) == epoch_of(bound(RECIPES["map"]()), 4)


def test_a_table_gives_the_same_order_without_reading_the_data() -> None:
    recipe = RECIPES["groups"]()
    samples = list(recipe.source)
    columns = {**recipe.kind.labels(samples), **recipe.kind.ids(samples)}
    table = SampleTable(recipe.kind, columns, {"part": torch.arange(SIZE)}, {}, two_towers=False)
    expected = epoch_of(bound(recipe, world_size=2), 1)
    recipe.source.data = None
    loader = bound(recipe, world_size=2, table=table)
    assert [batch.query.features["part"].rows.tolist() for batch in epoch_of(loader, 1)] == expected
    loader.load_state_dict({"epoch": 1, "batches": 2})
    assert [batch.query.features["part"].rows.tolist() for batch in loader] == expected[2:]


class Failing(Samples):
    def __getitem__(self, index: int) -> SimilarityGroupSample:
        if index == 9:
            raise IndexError("the file is too short")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_data_set_are_shown(workers: int) -> None:
    recipe = GroupSimilarityDataLoader(Failing(), 4, num_workers=workers)
    with pytest.raises(IndexError, match="the file is too short"):
        list(bound(recipe))
