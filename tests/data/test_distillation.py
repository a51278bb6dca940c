"""Scores of teachers, once each, and what students make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, SmallModel, numbers, quiet_trainer

from simlearn import (
    KLDistillationLoss,
    MarginMSELoss,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityModel,
    SimilarityPairSample,
    SimilarityRankingSample,
    distill,
    fit,
)

RANKINGS = [
    SimilarityRankingSample("a", ["x", "yy", "zzz"], [1.0, 0.0, 0.0]),
    SimilarityRankingSample("bb", ["yy", "x"], [1.0, 0.0], query_id=7),
    SimilarityRankingSample("a", ["yy"], [1.0]),
]


class Teacher:
    """Scores by lengths, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, str]]] = []

    @property
    def scored(self) -> list[tuple[str, str]]:
        return [pair for pairs in self.asked for pair in pairs]

    def __call__(self, pairs: list[tuple[str, str]]) -> list[int]:
        self.asked.append(pairs)
        return [10 * len(query) + len(document) for query, document in pairs]


def test_each_pair_is_scored_once() -> None:
    teacher = Teacher()
    found = distill(teacher, RANKINGS, batch_size=2)
    assert [one.relevances for one in found] == [[11.0, 12.0, 13.0], [22.0, 21.0], [12.0]]
    assert teacher.scored == [("a", "x"), ("a", "yy"), ("a", "zzz"), ("bb", "yy"), ("bb", "x")]
    assert max(map(len, teacher.asked)) == 2
    assert (
        found[1].query_id == 7
        and found[0].documents == ["x", "yy", "zzz"]
        and RANKINGS[0].relevances == [1.0, 0.0, 0.0]
    )
    pairs = distill(teacher, [SimilarityPairSample("a", "bb", subgroup=3)])
    assert pairs == [SimilarityPairSample("a", "bb", 12.0, subgroup=3)]
    assert distill(teacher, []) == []


def test_once_ever(tmp_path: Path) -> None:
    teacher = Teacher()
    first = distill(teacher, RANKINGS[:1], save_dir=tmp_path, name="lengths 1")
    asked = len(teacher.scored)
    again = distill(teacher, RANKINGS, save_dir=tmp_path, name="lengths 1")
    assert asked == 3 and len(teacher.scored) == 5 and again[0] == first[0]
    assert [one.relevances for one in again] == [[11.0, 12.0, 13.0], [22.0, 21.0], [12.0]]
    assert distill(teacher, [], save_dir=tmp_path, name="lengths 1") == []
    with pytest.raises(ValueError, match="holds the scores of 'lengths 1', not of 'lengths 2'"):
        distill(teacher, RANKINGS, save_dir=tmp_path, name="lengths 2")
    with pytest.raises(ValueError, match="pass name="):
        distill(teacher, RANKINGS, save_dir=tmp_path)


def test_models_teach() -> None:
    torch.manual_seed(0)
    model = SimilarityModel(NumbersEncoder())
    rows = numbers(0, 6)
    samples = [
        SimilarityRankingSample(rows[0], rows[1:4], [0.0] * 3),
        SimilarityRankingSample(rows[4], rows[4:], [0.0] * 2),
    ]
    found = distill(model, samples, batch_size=2)
    for sample in found:
        assert sample.relevances == pytest.approx(model.similarity([sample.query], list(sample.documents))[0], abs=1e-6)


def test_cross_encoders_of_sentence_transformers_teach(tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder
    from tiny_models import tiny_cross_encoder

    tiny_cross_encoder(tmp_path)
    teacher = CrossEncoder(str(tmp_path), device="cpu")
    found = distill(teacher, RANKINGS)
    expected = teacher.predict([("a", "x"), ("a", "yy"), ("a", "zzz")])
    assert found[0].relevances == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("loss", [KLDistillationLoss(scale=5.0), MarginMSELoss("all")], ids=repr)
def test_a_student_learns(loss: Any) -> None:
    """The teacher compares the first two values alone."""
    rows = numbers(0, 200)

    def teacher(pairs: Any) -> Any:
        return [4 * sum(a * b for a, b in zip(query[:2], document[:2], strict=True)) for query, document in pairs]

    samples = [SimilarityRankingSample(rows[n], rows[n + 1 : n + 6], [1.0] + [0.0] * 4) for n in range(0, 190, 2)]
    taught = distill(teacher, samples)
    model = SmallModel(loss, head=False, learning_rate=3e-2)

    def agreement() -> float:
        agreed = [
            model.model.rank(one.query, list(one.documents))[0][0]
            == max(range(5), key=list(one.relevances).__getitem__)
            for one in taught
        ]
        return sum(agreed) / len(agreed)

    before = agreement()
    fit(model, RankingSimilarityDataLoader(taught, 16), trainer=quiet_trainer(max_epochs=30))
    assert agreement() > max(0.7, before + 0.2)


def test_refused() -> None:
    class Unknown:
        def __init__(self) -> None:
            self.told = lambda: 0

    odd = [SimilarityPairSample(Unknown(), "a"), SimilarityPairSample(Unknown(), "a")]
    assert [one.score for one in distill(lambda pairs: [float(len(pairs))] * len(pairs), odd)] == [2.0, 2.0]
    with pytest.raises(TypeError, match="leave save_dir out"):
        distill(Teacher(), odd, save_dir="never", name="x")
    for wrong, message in (
        (lambda pairs: [1.0], r"shape \(1,\) for 5 pairs"),
        (lambda pairs: torch.zeros(len(pairs), 2), r"shape \(5, 2\) for 5 pairs"),
        (lambda pairs: [float("nan")] * len(pairs), "no finite score to 'a' and 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            distill(wrong, RANKINGS)
    for teacher in ("minilm", torch.nn.Linear(2, 2)):
        with pytest.raises(TypeError, match=r"has predict\(pairs\), or is a function of pairs"):
            distill(teacher, RANKINGS)
    with pytest.raises(TypeError, match="rankings and pairs, got a SimilarityGroupSample"):
        distill(Teacher(), [SimilarityGroupSample("a", 1)])  # type: ignore[type-var]
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        distill(Teacher(), RANKINGS, batch_size=0)
