"""The kinds of samples: what their labels say, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from simlearn.data.batch import collate_samples
from simlearn.data.kinds import GroupKind, LabelKind, PairKind, RankingKind, SampleKind
from simlearn.samples import (
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)

NAN, INF = float("nan"), float("inf")


def relation_of(kind: SampleKind, *samples: Any) -> Any:
    return collate_samples(kind, samples).relation


def pair(name: str, score: Any = 1.0, subgroup: Any = 0) -> SimilarityPairSample:
    return SimilarityPairSample(f"a {name}", f"b {name}", score, subgroup)


def test_pairs() -> None:
    batch = collate_samples(PairKind(), [pair("x"), pair("y", 0.25, "s")])
    assert batch.queries == ["a x", "a y"]
    assert batch.documents == ["b x", "b y"]
    assert batch.relation.paired_scores().tolist() == [1.0, 0.25]
    assert batch.relation.query_subgroups.tolist()[0] == 0
    assert not batch.relation.is_shared


def test_groups_and_labels_are_queries_and_documents_at_once() -> None:
    batch = collate_samples(GroupKind(), [SimilarityGroupSample("x", 3), SimilarityGroupSample("y", np.int64(3))])
    assert batch.documents is batch.queries
    assert batch.relation.groups.tolist() == [3, 3]
    samples = [
        SimilarityLabelSample("x", ["p", "q", "p"]),
        SimilarityLabelSample("y", "q"),
        SimilarityLabelSample("z", []),
    ]
    relation = relation_of(LabelKind(), *samples)
    assert relation.positives().tolist() == [[False, True, False], [True, False, False], [False, False, False]]
    assert relation.label_offsets.tolist() == [0, 2, 3, 3]


@pytest.mark.parametrize("labels", ["q", b"q", 3, np.int64(3), torch.tensor(3), 0.5])
def test_a_label_that_is_no_list_is_the_only_one(labels: Any) -> None:
    both = [SimilarityLabelSample("x", labels), SimilarityLabelSample("y", [labels])]
    assert relation_of(LabelKind(), *both).positives()[0, 1]


@pytest.mark.parametrize("labels", [{1, 2}, frozenset({2, 1}), (1, 2), np.array([2, 1, 1]), torch.tensor([1, 2])])
def test_labels_in_any_collection(labels: Any) -> None:
    assert relation_of(LabelKind(), SimilarityLabelSample("x", labels)).labels.tolist() == [1, 2]


def test_rankings_of_any_length() -> None:
    samples = [
        SimilarityRankingSample("x", ["p", "q"], [1.0, 0.0]),
        SimilarityRankingSample("y", [], []),
        SimilarityRankingSample("z", np.array(["r"]), torch.tensor([2.0])),
    ]
    batch = collate_samples(RankingKind(), samples)
    assert batch.documents == ["p", "q", "r"]
    assert batch.relation.offsets.tolist() == [0, 2, 2, 3]
    assert batch.relation.positives().tolist() == [[True, False, False], [False] * 3, [False, False, True]]
    assert batch.relation.negatives(in_batch=False).tolist() == [[False, True, False], [False] * 3, [False] * 3]
    nothing = collate_samples(RankingKind(), [SimilarityRankingSample("x", [], [])])
    assert nothing.relation.positives().shape == (1, 0)


def test_subgroups_are_exact() -> None:
    """As float32, 16777216 and 16777217 would be one subgroup."""
    relation = relation_of(PairKind(), pair("x", subgroup=16777216), pair("y", subgroup=16777217))
    assert relation.negatives(in_batch=False).tolist() == [[False, True], [True, False]]
    relation = relation_of(PairKind(), pair("x", subgroup=2**62), pair("y", subgroup=2**62 + 1))
    assert relation.query_subgroups.tolist() == [2**62, 2**62 + 1]


def test_one_object_is_no_negative_of_itself() -> None:
    relation = relation_of(PairKind(), SimilarityPairSample("x", "p"), SimilarityPairSample("x", "q"))
    assert not relation.negatives().any(), "both documents belong to one query"
    relation = relation_of(PairKind(), SimilarityPairSample("x", "y"), SimilarityPairSample("z", "x"))
    assert relation.negatives().tolist() == [[False, False], [True, False]]
    same = relation_of(PairKind(), SimilarityPairSample("x", "x"), SimilarityPairSample("y", "y"))
    assert same.positives().tolist() == [[True, False], [False, True]]


def test_objects_without_content_are_distinct() -> None:
    class Opaque:
        pass

    shared = Opaque()
    pairs = [SimilarityPairSample(shared, Opaque()), SimilarityPairSample(Opaque(), shared)]
    relation = relation_of(PairKind(), *pairs)
    assert relation.negatives().tolist() == [[False, False], [True, False]]


KEYED = [
    (PairKind, lambda name: pair("x", subgroup=name), "query_subgroups"),
    (GroupKind, lambda name: SimilarityGroupSample("x", name), "groups"),
    (LabelKind, lambda name: SimilarityLabelSample("x", [name]), "labels"),
]


@pytest.mark.parametrize(("kind", "make", "column"), KEYED)
def test_keys_name_what_has_no_name(kind: Any, make: Any, column: str) -> None:
    relation = relation_of(kind(lambda value: value["id"]), make({"id": 7}), make({"id": 8}))
    assert getattr(relation, column).tolist() == [7, 8]


@pytest.mark.parametrize(("kind", "make", "column"), KEYED)
def test_nameless_groups_name_the_sample_and_the_cure(kind: Any, make: Any, column: str) -> None:
    name = {"query_subgroups": "subgroup", "groups": "group", "labels": "label"}[column]
    with pytest.raises(TypeError, match=rf"{name} \{{'id': 7\}}.*pass {name}_key=.*\(in Similarity\w+Sample\("):
        relation_of(kind(), make({"id": 7}))
    with pytest.raises(ValueError, match=rf"{name} nan: NaN equals nothing.*\(in Similarity\w+Sample\("):
        relation_of(kind(), make(NAN))


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e39, None, "high", [1.0]])
def test_scores_must_be_finite(value: Any) -> None:
    with pytest.raises(ValueError, match=r"score must be a finite number, got .* in SimilarityPairSample\(obj_a='a x'"):
        relation_of(PairKind(), pair("y"), pair("x", value))
    with pytest.raises(
        ValueError, match=r"relevance must be a finite number, .* in SimilarityRankingSample\(query='x'"
    ):
        relation_of(RankingKind(), SimilarityRankingSample("x", ["p"], [value]))


def test_scores_of_any_number_type() -> None:
    values = [1, True, np.float32(0.5), torch.tensor(0.25), "0.5", -3.4e38]
    relation = relation_of(PairKind(), *(pair(str(number), value) for number, value in enumerate(values)))
    assert relation.paired_scores().tolist() == pytest.approx([1, 1, 0.5, 0.25, 0.5, -3.4e38])


BAD = [
    (RankingKind, SimilarityRankingSample("x", ["p"], [1.0, 0.0]), ValueError, "1 documents and 2 relevances.*'x'"),
    (RankingKind, SimilarityRankingSample("x", "pq", [1.0, 0.0]), TypeError, "must be a list, got a str.*'x'"),
    (
        RankingKind,
        SimilarityRankingSample("x", iter("p"), [1.0]),
        TypeError,
        r"must be a list, got a str_\w*iterator",
    ),
    (LabelKind, SimilarityLabelSample("x", None), TypeError, "got NoneType in SimilarityLabelSample.*empty list"),
    (LabelKind, SimilarityLabelSample("x", iter([1])), TypeError, "got list_iterator"),
]


@pytest.mark.parametrize(("kind", "sample", "error", "message"), BAD)
def test_malformed_samples(kind: Any, sample: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        relation_of(kind(), sample)
