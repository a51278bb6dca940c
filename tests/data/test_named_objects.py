"""Objects that a data set names are told by their names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from simlearn import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityPairSample,
    SimilarityRankingSample,
)


def ids(relation: Any, role: str) -> list[int]:
    found: list[int] = getattr(relation, f"{role}_ids").tolist()
    return found


def test_of_pairs_by_column() -> None:
    rows = [{"q": f"q{n}", "d": {"title": f"t{n}"}, "user": n % 2, "sku": f"s{n % 3}"} for n in range(6)]
    (batch,) = PairsSimilarityDataLoader(rows, obj_a="q", obj_b="d", obj_a_id="user", obj_b_id="sku")
    assert ids(batch.relation, "query") == [0, 1] * 3
    documents = ids(batch.relation, "document")
    assert documents[:3] == documents[3:] and len(set(documents)) == 3
    (plain,) = PairsSimilarityDataLoader(rows, obj_a="q", obj_b="d")
    assert len(set(ids(plain.relation, "document"))) == 6


def test_one_name_is_one_object_however_it_is_written() -> None:
    names: list[Any] = [5, 5.0, torch.tensor(5)]
    (batch,) = PairsSimilarityDataLoader([SimilarityPairSample("a", n, obj_b_id=name) for n, name in enumerate(names)])
    assert ids(batch.relation, "document") == [5, 5, 5]


def test_of_rankings() -> None:
    samples = [
        SimilarityRankingSample("a", ["x", "y"], [1, 0], query_id=7, document_ids=[1, 2]),
        SimilarityRankingSample("b", ["z"], [1], query_id=8, document_ids=[2]),
    ]
    (batch,) = RankingSimilarityDataLoader(samples)
    assert ids(batch.relation, "query") == [7, 8] and ids(batch.relation, "document") == [1, 2, 2]
    rows = [("a", ["x", "y"], [1, 0], [1])]
    with pytest.raises(ValueError, match="document_ids must name each document"):
        next(iter(RankingSimilarityDataLoader(rows, query=0, documents=1, relevances=2, document_ids=3)))


def test_of_groups_and_labels() -> None:
    rows = [{"o": f"view {n}", "g": n // 2, "i": n // 3} for n in range(6)]
    (groups,) = GroupSimilarityDataLoader(rows, obj="o", group="g", obj_id="i")
    (labels,) = LabelSimilarityDataLoader(rows, obj="o", labels="g", obj_id="i")
    assert ids(groups.relation, "query") == ids(labels.relation, "query") == [0, 0, 0, 1, 1, 1]


def test_bad_names() -> None:
    some = [SimilarityPairSample("a", "b", obj_b_id=1), SimilarityPairSample("c", "d")]
    with pytest.raises(ValueError, match="has no obj_b_id, and others of its batch do; name all or none"):
        next(iter(PairsSimilarityDataLoader(some)))
    with pytest.raises(TypeError, match="obj_a_id .* give a str or an int"):
        next(iter(PairsSimilarityDataLoader([SimilarityPairSample("a", "b", obj_a_id=object())])))
