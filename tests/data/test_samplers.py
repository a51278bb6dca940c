"""Which samples make a batch."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from epoch_plans import global_batches, plans, shares
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from simlearn.data.samplers import BatchSamplerBatches, RandomBatches, SamplerBatches
from simlearn.data.share import Share

TRAIN = Share(training=True, drop_last=True)
SIZES = st.integers(0, 120)
BATCHES = st.integers(1, 9)
WORLDS = st.integers(1, 4)


class EveryOther:
    """A sampler with epochs, as samplers of other libraries are: no length, and told the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch % 2, 40, 2))


def planners(size: int, batch_size: int) -> list[Any]:
    return [
        RandomBatches(size, batch_size, shuffle=True),
        RandomBatches(size, batch_size, shuffle=False),
        SamplerBatches(SequentialSampler(range(size)), batch_size),
        SamplerBatches(SubsetRandomSampler(range(size)), batch_size),
        SamplerBatches(list(range(size)), batch_size),
        BatchSamplerBatches(BatchSampler(SubsetRandomSampler(range(size)), batch_size, drop_last=False)),
    ]


@given(size=SIZES, batch_size=BATCHES, world_size=WORLDS, training=st.booleans(), drop_last=st.booleans())
@settings(deadline=None)
def test_every_sample_once_in_an_epoch(
    size: int, batch_size: int, world_size: int, training: bool, drop_last: bool
) -> None:
    options = {"training": training, "drop_last": drop_last}
    for planner in planners(size, batch_size):
        by_process = plans(planner, 2, world_size, **options)
        steps = global_batches(by_process)
        seen = sorted(row for batch in steps for row in batch)
        assert len(set(seen)) == len(seen), "no sample twice, on whatever process"
        assert planner.length(Share(0, world_size, training, drop_last)) == len(steps)
        if training or drop_last:
            assert len({len(batches) for batches in by_process}) == 1, "every process has equally many batches"
        if not training and not drop_last:
            assert seen == list(range(size)), "nothing is lost, nothing is padded"
        if isinstance(planner, BatchSamplerBatches):
            continue
        if drop_last:
            assert {len(batch) for batch in steps} <= {batch_size * world_size}
            assert len(seen) == size - size % (batch_size * world_size), "only what fills no batch is dropped"
        for step, batch in enumerate(steps):
            lengths = [len(batches[step]) if step < len(batches) else 0 for batches in by_process]
            assert sum(lengths) == len(batch)
            assert max(lengths) - min(lengths) <= 1


@given(size=SIZES, batch_size=BATCHES, world_size=st.integers(2, 4), training=st.booleans())
@settings(deadline=None)
def test_a_global_batch_is_that_of_one_process(size: int, batch_size: int, world_size: int, training: bool) -> None:
    single = planners(size, batch_size * world_size)
    for several, one in zip(planners(size, batch_size)[:-1], single[:-1], strict=True):
        options = {"training": training, "drop_last": training}
        assert global_batches(plans(several, 1, world_size, **options)) == plans(one, 1, 1, **options)[0]


def test_consecutive_batches_of_a_batch_sampler_make_a_global_one() -> None:
    batches = [[0, 1], [2], [3, 4, 5], [6], [7]]
    planner = BatchSamplerBatches(batches)
    assert plans(planner, 0, 2) == [[[0, 1], [3, 4, 5]], [[2], [6]]]
    assert plans(planner, 0, 2, drop_last=False, training=False) == [[[0, 1], [3, 4, 5], [7]], [[2], [6]]]
    assert plans(planner, 0, 2, drop_last=False, training=True) == [[[0, 1], [3, 4, 5]], [[2], [6]]]


def test_epochs_differ_and_seeds_too() -> None:
    order = [
        plans(RandomBatches(50, 10, shuffle=True, seed=seed), epoch, 1) for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert order[0] != order[1]
    assert order[0] != order[2]
    assert plans(RandomBatches(50, 10, shuffle=True), 0, 1) == order[0]
    assert plans(RandomBatches(50, 10, shuffle=False), 3, 1)[0][0] == list(range(10))


@pytest.mark.parametrize(
    "make",
    [
        lambda: SamplerBatches(RandomSampler(range(60)), 4),
        lambda: SamplerBatches(WeightedRandomSampler([1.0] * 60, 60), 4),
        lambda: SamplerBatches(SubsetRandomSampler(range(60)), 4),
        lambda: BatchSamplerBatches(BatchSampler(RandomSampler(range(60)), 4, drop_last=True)),
        lambda: SamplerBatches(NumpySampler(), 4),
    ],
    ids=["random", "weighted", "subset", "batches", "lazy"],
)
def test_samplers_without_seed_agree_between_processes(make: Any) -> None:
    """Each process has its own global random numbers; a restarted one, too."""
    planned = []
    for process in range(2):
        torch.manual_seed(process)
        np.random.seed(process)  # noqa: NPY002
        random.seed(process)
        planner = make()
        plan = planner.plan(5, TRAIN)
        batches = [list(next(plan))]
        torch.rand(7)  # training draws numbers meanwhile
        np.random.rand(3)  # noqa: NPY002
        planned.append(batches + [list(batch) for batch in plan])
        others = plans(planner, 6, 1)[0]
        assert others != planned[-1], "epochs differ"
    assert planned[0] == planned[1]
    assert len(planned[0]) == 15


class NumpySampler:
    """Draws each number when it is asked for it, like the samplers of some libraries."""

    def __iter__(self) -> Iterator[int]:
        for _ in range(60):
            yield int(np.random.randint(60)) // 2 + random.randrange(30)  # noqa: NPY002


def test_set_epoch_of_samplers() -> None:
    planner = SamplerBatches(EveryOther(), 5)
    assert planner.length(TRAIN) is None
    assert plans(planner, 0, 1)[0][0] == [0, 2, 4, 6, 8]
    assert plans(planner, 1, 2) == [
        [[1, 3, 5, 7, 9], [21, 23, 25, 27, 29]],
        [[11, 13, 15, 17, 19], [31, 33, 35, 37, 39]],
    ]
    inner = BatchSamplerBatches(BatchSampler(DistributedSampler(range(12), 1, 0, shuffle=True), 4, drop_last=False))
    assert plans(inner, 0, 1) != plans(inner, 1, 1), "the sampler in a batch sampler is told as well"
    assert inner.length(TRAIN) == 3


def test_unsized_batch_sampler() -> None:
    class Endless:
        def __iter__(self) -> Iterator[list[int]]:
            yield from ([number, number + 1] for number in iter(int, 1))

    planner = BatchSamplerBatches(Endless())
    assert planner.length(TRAIN) is None
    assert next(planner.plan(0, TRAIN)) == [0, 1]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda sampler: SamplerBatches(sampler, 2),
        lambda sampler: BatchSamplerBatches(BatchSampler(sampler, 2, drop_last=False)),
    ],
)
def test_a_sampler_of_one_share_is_refused(wrap: Any) -> None:
    with pytest.raises(ValueError, match="yields the samples of one process only"):
        wrap(DistributedSampler(range(10), num_replicas=2, rank=0))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="list gave an empty batch"):
        plans(BatchSamplerBatches([[1], []]), 0, 1)


def test_fewer_samples_than_processes() -> None:
    planner = RandomBatches(3, 2, shuffle=False)
    assert plans(planner, 0, 4, training=True, drop_last=False) == [[], [], [], []]
    assert plans(planner, 0, 4, training=False, drop_last=False) == [[[0]], [[1]], [[2]], []]
    assert [planner.length(share) for share in shares(4, training=False, drop_last=False)] == [1] * 4


def test_a_fresh_process_plans_the_same() -> None:
    code = """
from torch.utils.data import RandomSampler
from simlearn.data import GroupBatchSampler
from simlearn.data.samplers import RandomBatches, SamplerBatches
from simlearn.data.share import Share
share = Share(1, 2, True, True)
for planner in (
    RandomBatches(40, 4, True, 7),
    SamplerBatches(RandomSampler(range(40)), 4, 7),
    GroupBatchSampler([i % 9 for i in range(100)], 2, 3, 7),
):
    print([list(map(int, batch)) for batch in planner.plan(3, share)])
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here: list[str] = []
    exec(code, {"print": lambda line: here.append(f"{line}\n")})
    assert output == "".join(here)
