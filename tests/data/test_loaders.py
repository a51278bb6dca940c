"""The loaders of the four kinds of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import IterableDataset

from simlearn import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityGroupDataset,
    SimilarityGroupSample,
)
from simlearn.data import GroupBatchSampler
from simlearn.data.samplers import RandomBatches
from simlearn.hashing import stable_id

GROUPS = [SimilarityGroupSample(f"o{number}", f"g{number % 5}") for number in range(40)]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(GROUPS)


def test_pairs_by_columns() -> None:
    rows = [("a", "b", 0.5, "s"), ("c", "d", 1.0, "t")]
    (batch,) = PairsSimilarityDataLoader(rows, obj_a=0, obj_b=1, score=2, subgroup=3, subgroup_key=str.upper)
    assert batch.relation.paired_scores().tolist() == [0.5, 1.0]
    assert batch.relation.query_subgroups.tolist() == [stable_id("S"), stable_id("T")]


def test_rankings_by_columns() -> None:
    rows = pd.DataFrame({"q": ["a", "b"], "docs": [["c", "d"], ["e"]], "grades": [np.array([1.0, 0.0]), [2.0]]})
    (batch,) = RankingSimilarityDataLoader(rows, query="q", documents="docs", relevances="grades")
    assert batch.documents == ["c", "d", "e"]
    assert batch.relation.scores.tolist() == [1.0, 0.0, 2.0]


def test_labels_by_columns() -> None:
    rows = [{"text": "a", "tags": ["x", "y"]}, {"text": "b", "tags": "y"}]
    (batch,) = LabelSimilarityDataLoader(rows, obj="text", labels="tags", label_key=str.upper)
    assert batch.relation.positives().tolist() == [[False, True], [True, False]]
    assert stable_id("X") in batch.relation.labels


def test_groups_are_read_once() -> None:
    calls: list[str] = []
    loader = GroupSimilarityDataLoader(GROUPS, group_key=lambda name: calls.append(name) or name[1:])
    assert loader.groups().tolist() == [stable_id(str(number % 5)) for number in range(40)]
    assert loader.groups().dtype is torch.long
    assert len(calls) == 40
    assert GroupSimilarityDataLoader(Stream()).groups().tolist() == GroupSimilarityDataLoader(GROUPS).groups().tolist()


def test_groups_by_columns() -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "kind": [1, 2, 1]}, index=[9, 8, 7])
    loader = GroupSimilarityDataLoader(frame, obj="text", group="kind")
    assert loader.groups().tolist() == [1, 2, 1]
    (batch,) = loader
    assert batch.relation.groups.tolist() == [1, 2, 1]


def test_samples_per_group_holds_in_training_only() -> None:
    loader = GroupSimilarityDataLoader(GROUPS, 9, samples_per_group=3, seed=4)
    plan = loader.epoch_plan(training=True)
    assert isinstance(plan, GroupBatchSampler)
    assert (plan.groups_per_batch, plan.samples_per_group, plan.seed) == (3, 3, 4)
    assert isinstance(loader.epoch_plan(training=False), RandomBatches)
    for batch in loader.bind(lambda samples: [sample.group for sample in samples], training=True):
        assert sorted(batch.count(group) for group in set(batch)) in ([2, 3, 3], [3, 3, 3], [2, 2, 3], [2, 2, 2])


BAD_GROUPS: list[tuple[dict[str, Any], str]] = [
    ({"samples_per_group": 1}, "samples_per_group must be at least 2, or no object has a positive; got 1"),
    ({"samples_per_group": 3, "batch_size": 5}, "batch_size=5 holds fewer than two groups of 3.*take at least 6"),
    ({"samples_per_group": 2, "dataset": Stream()}, "needs samples with numbers"),
    ({"samples_per_group": 2, "sampler": [1]}, "leave out sampler"),
    ({"samples_per_group": 2, "batch_sampler": [[1]]}, "leave out sampler"),
    ({"samples_per_group": 2, "shuffle": False}, "leave out sampler, batch_sampler and shuffle"),
]


@pytest.mark.parametrize(("options", "message"), BAD_GROUPS)
def test_groups_that_cannot_be_put_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GroupSimilarityDataLoader(**{"dataset": GROUPS, **options})


def test_data_sets_of_objects_and_labels() -> None:
    data = SimilarityGroupDataset([("a", 1), ("b", 2)])
    assert len(data) == 2
    assert data[1] == SimilarityGroupSample("b", 2)
    (batch,) = GroupSimilarityDataLoader(data)
    assert batch.queries == ["a", "b"]
    assert batch.relation.groups.tolist() == [1, 2]
