from __future__ import annotations

from typing import Any

import pytest
import torch
from processes import run_on_two

from simlearn import SimilarityGroupSample, SimilarityPairSample, SimilarityRankingSample
from simlearn.negatives import HardNegatives, mine_hard_negatives


def encode(objects: list[Any], role: str) -> torch.Tensor:
    """An angle for each number; of texts their number."""
    angles = torch.tensor([float(str(one).strip("qd")) / 10 for one in objects])
    return torch.stack([angles.cos(), angles.sin()], 1)


def samples() -> list[SimilarityPairSample]:
    return [SimilarityPairSample(f"q{n}", f"d{n}") for n in range(8)]


def test_the_nearest_that_are_no_positives_are_found() -> None:
    found = mine_hard_negatives(samples(), ["d20", "d3.4"], encode=encode, num_negatives=2)
    assert len(found) == 8
    assert found[3] == SimilarityRankingSample("q3", ["d3", "d3.4", "d2"], [1.0, 0.0, 0.0])
    assert found.counts is not None and found.counts.found == 16
    assert (found.counts.queries, found.counts.documents, found.counts.empty) == (8, 10, 0)
    assert "within margin" in str(found.counts)
    negative = [pair for pair in found.pairs() if pair.obj_a == "q3"]
    assert [(pair.obj_b, pair.score) for pair in negative] == [("d3", 1.0), ("d3.4", 0.0), ("d2", 0.0)]
    with pytest.raises(IndexError):
        found[8]


def test_what_is_similar_in_any_sample_is_no_negative() -> None:
    known = [
        SimilarityPairSample("q1", "d1"),
        SimilarityPairSample("q1", "d2", score=0.5),
        SimilarityPairSample("q1", "d2", score=0.7),
        SimilarityPairSample("q1", "d5", score=0.0),  # judged different: may well be a negative
        SimilarityRankingSample("q2", ["d2", "d1"], [1.0, 0.0]),
        SimilarityPairSample("q9", "d9", score=-1.0),  # nothing is similar to it
    ]
    found = mine_hard_negatives(known, ["d1", "q1"], encode=encode, num_negatives=9)
    assert len(found) == 2
    assert found[0] == SimilarityRankingSample("q1", ["d1", "d2", "d5", "d9"], [1.0, pytest.approx(0.7), 0.0, 0.0])
    assert found[1].documents[:1] == ["d2"] and set(found[1].documents[1:]) == {"q1", "d1", "d5", "d9"}
    assert found.counts is not None and found.counts.short == 2


def test_subgroups_are_left_out() -> None:
    known = [SimilarityPairSample(f"q{n}", f"d{n}", subgroup="even" if n % 2 == 0 else "odd") for n in range(6)]
    found = mine_hard_negatives(known, encode=encode, num_negatives=3)
    for sample in found:  # type: ignore[attr-defined]
        own = int(sample.query[1:]) % 2
        assert all(int(one[1:]) % 2 != own for one in sample.documents[1:])


def test_before_mining_negatives_are_random_and_no_positives() -> None:
    negatives = HardNegatives(samples(), num_negatives=3)
    for sample in (negatives[row] for row in range(8)):
        assert len(set(sample.documents)) == 4
        assert sample.relevances == [1.0, 0.0, 0.0, 0.0]
    few = HardNegatives(samples()[:2], num_negatives=3)
    assert few[0].documents == ["d0", "d1"]
    large = HardNegatives(samples(), [f"d{n}" for n in range(100)], num_negatives=3)
    assert torch.equal(large.rows, HardNegatives(samples(), [f"d{n}" for n in range(100)], num_negatives=3).rows)


def test_its_state_goes_through_a_checkpoint() -> None:
    negatives = mine_hard_negatives(samples(), encode=encode)
    other = HardNegatives(samples())
    other.load_state_dict(negatives.state_dict())
    assert [other[row] for row in range(8)] == [negatives[row] for row in range(8)]
    with pytest.raises(ValueError, match="not of these 2"):
        HardNegatives(samples()[:2]).load_state_dict(negatives.state_dict())


def test_bad_data_is_refused() -> None:
    with pytest.raises(TypeError, match="got a SimilarityGroupSample"):
        HardNegatives([SimilarityGroupSample("a", 1)])
    with pytest.raises(ValueError, match="no sample has a score above 0"):
        HardNegatives([SimilarityPairSample("a", "b", score=0)])
    with pytest.raises(ValueError, match="add a corpus"):
        HardNegatives([SimilarityPairSample("a", "b")])
    with pytest.raises(ValueError, match="3 documents and 1 relevances"):
        HardNegatives([SimilarityRankingSample("a", ["b", "c", "d"], [1.0])])
    with pytest.raises(ValueError, match="1 embeddings for 8 objects"):
        mine_hard_negatives(samples(), encode=lambda objects, role: torch.ones(1, 2))


def mined(seed: int) -> tuple[list[list[int]], object]:
    options = {"num_negatives": 2, "sampling_strategy": "random", "range_max": 5, "max_score": 0.999, "seed": seed}
    found = mine_hard_negatives(samples()[:7], ["d2.5"], encode=encode, **options)
    return found.rows.tolist(), found.counts


def test_two_processes_mine_what_one_does() -> None:
    alone = mined(3)
    assert run_on_two(mined, [3], [3]) == [alone, alone]
