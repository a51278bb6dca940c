"""Batches of P groups with K samples each."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
import torch
from epoch_plans import global_batches, plans
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.data import GroupBatchSampler
from simlearn.data.share import Share

GROUP_SIZES = st.lists(st.integers(1, 14), min_size=1, max_size=25)


def groups_of(sizes: list[int]) -> list[int]:
    """Groups of these sizes, not in order."""
    groups = [group * 1000 - 7 for group, size in enumerate(sizes) for _ in range(size)]
    return np.random.default_rng(0).permutation(groups).tolist()


def portions_of(size: int, k: int) -> list[int]:
    """How a group of `size` samples is cut, by plain steps."""
    cut = [k] * (size // k) + ([size % k] if size % k else [])
    if len(cut) > 1 and cut[-1] == 1:
        cut = [*cut[:-2], k + 1] if k == 2 else [*cut[:-2], k - 1, 2]
    return sorted(cut)


def most_batches(counts: list[int], whole: int) -> int:
    """How many full batches there are at most, found greedily: always from the groups with most portions left."""
    batches = 0
    while sum(count > 0 for count in counts) >= whole:
        counts = sorted(counts, reverse=True)
        counts = [count - 1 for count in counts[:whole]] + counts[whole:]
        batches += 1
    return batches


@given(
    sizes=GROUP_SIZES, p=st.integers(1, 5), k=st.integers(2, 5), world_size=st.integers(1, 4), epoch=st.integers(0, 3)
)
@settings(deadline=None)
def test_training_batches(sizes: list[int], p: int, k: int, world_size: int, epoch: int) -> None:
    groups = groups_of(sizes)
    sampler = GroupBatchSampler(torch.tensor(groups), p, k, seed=1)
    by_process = plans(sampler, epoch, world_size)
    steps = global_batches(by_process)
    portions: Counter[int] = Counter()
    for batches in by_process:
        assert len(batches) == len(steps)
        for batch in batches:
            assert len({groups[row] for row in batch}) == p, "P groups a process"
    seen = [row for batch in steps for row in batch]
    assert len(set(seen)) == len(seen), "no sample twice in an epoch"
    for batch in steps:
        counted = Counter(groups[row] for row in batch)
        assert len(counted) == p * world_size, "the groups of a global batch are distinct"
        for group, count in counted.items():
            assert count in portions_of(groups.count(group), k)
            portions[group] += 1
    for group, count in portions.items():
        assert count <= len(portions_of(groups.count(group), k))
    cut = [len(portions_of(size, k)) for size in sizes]
    assert len(steps) == most_batches(cut, p * world_size), "as many full batches as there can be"
    assert sampler.length(Share(0, world_size, True, True)) == len(steps)
    assert sampler.short_groups == sum(size < k for size in sizes)


@given(sizes=GROUP_SIZES, p=st.integers(1, 5), k=st.integers(2, 5))
@settings(deadline=None)
def test_nothing_is_lost_where_nothing_is_dropped(sizes: list[int], p: int, k: int) -> None:
    groups = groups_of(sizes)
    sampler = GroupBatchSampler(groups, p, k)
    options = {"training": False, "drop_last": False}
    (batches,) = plans(sampler, 0, 1, **options)
    assert sorted(row for batch in batches for row in batch) == list(range(len(groups)))
    assert sampler.length(Share(0, 1, **options)) == len(batches)
    by_group: dict[int, list[int]] = {group: [] for group in groups}
    for batch in batches:
        counted = Counter(groups[row] for row in batch)
        assert len(counted) <= p
        for group, count in counted.items():
            by_group[group].append(count)
    for group, counts in by_group.items():
        assert sorted(counts) == portions_of(groups.count(group), k)
    several = [row for process in plans(sampler, 0, 3, **options) for batch in process for row in batch]
    assert sorted(several) == list(range(len(groups)))


@given(sizes=GROUP_SIZES, p=st.integers(1, 5), k=st.integers(2, 5), world_size=st.integers(1, 4))
@settings(deadline=None)
def test_incomplete_training_batches_have_something_for_everyone(
    sizes: list[int], p: int, k: int, world_size: int
) -> None:
    sampler = GroupBatchSampler(groups_of(sizes), p, k)
    by_process = plans(sampler, 0, world_size, training=True, drop_last=False)
    lengths = {len(batches) for batches in by_process}
    assert lengths == {sampler.length(Share(0, world_size, True, False))}
    assert len(by_process[0]) >= len(plans(sampler, 0, world_size)[0])


@given(sizes=GROUP_SIZES, p=st.integers(1, 3), world_size=st.integers(2, 4))
@settings(deadline=None)
def test_a_global_batch_is_that_of_one_process(sizes: list[int], p: int, world_size: int) -> None:
    groups = groups_of(sizes)
    several = global_batches(plans(GroupBatchSampler(groups, p, 3), 2, world_size))
    assert several == plans(GroupBatchSampler(groups, p * world_size, 3), 2, 1)[0]


def test_a_giant_group_is_in_every_batch_and_no_more() -> None:
    groups = [0] * 1000 + [group for group in range(1, 31) for _ in range(2)]
    steps = plans(GroupBatchSampler(groups, 4, 2), 0, 1)[0]
    assert len(steps) == 10
    for batch in steps:
        assert sorted(Counter(groups[row] for row in batch).values()) == [2, 2, 2, 2]
        assert sum(groups[row] == 0 for row in batch) == 2
    others = plans(GroupBatchSampler(groups, 4, 2), 1, 1)[0]
    rows = [{row for batch in plan for row in batch if groups[row] == 0} for plan in (steps, others)]
    assert rows[0] != rows[1], "its other samples have their turn in other epochs"


def test_every_group_meets_many_others() -> None:
    """Portions of one group must not travel through the epoch beside the same neighbours."""
    groups = [group for group in range(64) for _ in range(32)]
    met: dict[int, set[int]] = {group: set() for group in range(64)}
    for batch in plans(GroupBatchSampler(groups, 8, 4), 0, 1)[0]:
        present = {groups[row] for row in batch}
        for group in present:
            met[group] |= present - {group}
    # 8 batches with 7 others each: 56 meetings. By chance those are 37 different groups; in a fixed company, 7.
    assert np.mean([len(others) for others in met.values()]) > 30


def test_what_is_left_out_differs_between_epochs() -> None:
    sampler = GroupBatchSampler([group for group in range(11) for _ in range(2)], 4, 2)
    left = [set(range(22)) - {row for batch in plans(sampler, epoch, 1)[0] for row in batch} for epoch in range(20)]
    assert all(len(rows) == 6 for rows in left)
    assert len(set.union(*left)) == 22


def test_samples_of_a_group_change_their_company() -> None:
    sampler = GroupBatchSampler([0] * 8 + [1] * 8, 2, 4)
    assert plans(sampler, 0, 1) != plans(sampler, 1, 1)
    assert plans(sampler, 0, 1) == plans(GroupBatchSampler([0] * 8 + [1] * 8, 2, 4), 0, 1)
    assert plans(sampler, 0, 1) != plans(GroupBatchSampler([0] * 8 + [1] * 8, 2, 4, seed=1), 0, 1)


def test_too_few_groups_make_no_batch() -> None:
    assert plans(GroupBatchSampler([0, 0, 1, 1], 3, 2), 0, 1) == [[]]
    assert GroupBatchSampler([], 3, 2).length(Share()) == 0
    assert plans(GroupBatchSampler([], 3, 2), 0, 1) == [[]]


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match="samples_per_group must be at least 2, or no object has a positive; got 1"):
        GroupBatchSampler([0, 1], 2, 1)
    with pytest.raises(ValueError, match="groups_per_batch must be at least 1, got 0"):
        GroupBatchSampler([0, 1], 0, 2)


def test_a_million_samples_are_planned_in_seconds() -> None:
    groups = np.random.default_rng(0).integers(0, 100_000, 1_000_000)
    start = time.process_time()
    sampler = GroupBatchSampler(torch.from_numpy(groups), 16, 4)
    count = sum(1 for _ in sampler.plan(0, Share(training=True, drop_last=True)))
    assert time.process_time() - start < 10  # half a second, where nothing else runs
    assert count == sampler.length(Share(training=True, drop_last=True))
