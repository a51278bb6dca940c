"""What a user feeds in."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

import simlearn
from simlearn.data.kinds import KINDS
from simlearn.samples import (
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)

SAMPLES = [
    SimilarityPairSample("a", "b", 0.5, "sub"),
    SimilarityGroupSample("a", "group"),
    SimilarityRankingSample("a", ["b", "c"], [1.0, 0.0]),
    SimilarityLabelSample("a", ["x", 3]),
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_plain_values(sample: Any) -> None:
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert dataclasses.replace(sample) == sample
    assert getattr(simlearn, type(sample).__name__) is type(sample)


def test_a_pair_is_similar_unless_told_otherwise() -> None:
    pair = SimilarityPairSample("a", "b")
    assert (pair.score, pair.subgroup) == (1.0, 0)


def test_every_sample_has_a_kind_and_a_loader() -> None:
    assert {kind.sample for kind in KINDS} == {type(sample) for sample in SAMPLES}
    for kind in KINDS:
        assert getattr(simlearn, kind.loader).kind_class is kind
