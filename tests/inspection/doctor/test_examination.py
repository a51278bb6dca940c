from __future__ import annotations

from typing import Any

import pytest
import torch

from simlearn import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)
from simlearn.inspection.doctor import DataReport, examine
from simlearn.inspection.doctor.findings import shown
from simlearn.inspection.doctor.split import normalised


def pairs(count: int = 40) -> list[SimilarityPairSample]:
    return [SimilarityPairSample(f"question {n}", f"answer {n}") for n in range(count)]


def counts(report: DataReport) -> dict[str, int]:
    return {finding.name: finding.count for finding in report.findings if finding.severity != "note"}


def test_clean_data_is_called_clean() -> None:
    report = examine(PairsSimilarityDataLoader(pairs(), batch_size=8), pairs(60)[40:])
    assert report.is_clean and counts(report) == {}
    assert report.sizes["different objects in train"] == 80
    assert "nothing found of: repeated samples" in str(report)
    assert "a query has 7.0 negatives, at least 7" in report["negatives"].text


def test_pairs_in_every_kind_of_trouble() -> None:
    data = [
        *pairs(),
        SimilarityPairSample("question 1", "answer 1"),
        SimilarityPairSample("answer 2", " QUESTION 2", score=0.0),
        SimilarityPairSample("question 3", "answer 3", score=0.5),
        SimilarityPairSample("one", "two", subgroup="a"),
        SimilarityPairSample("two", "one", subgroup="b"),
        SimilarityPairSample("same", "Same "),
        SimilarityPairSample("", "nothing was asked"),
        SimilarityPairSample("at length", "word " * 500),
    ]
    report = examine(data)
    assert counts(report) == {
        "repeated_samples": 1 + 1,  # question 3 says the same, to another degree
        "equal_after_normalisation": 2,
        "conflicting_pairs": 2,
        "differing_scores": 2,
        "pair_in_two_subgroups": 2,
        "self_pairs": 1,
        "empty_queries": 1,
    }
    assert report["long_documents"].count == 1 and "2,500" in report["long_documents"].text
    conflict = report["conflicting_pairs"]
    assert conflict.examples == (
        "train 2: question 2 | answer 2  (score 1)",
        "train 41: answer 2 |  QUESTION 2  (score 0)",
    )
    printed = str(report)
    assert (
        printed.index("✗ conflicting pairs") < printed.index("! repeated samples") < printed.index("· long documents")
    )
    assert "→ decide for one" in printed
    with pytest.raises(KeyError, match="nothing was found of 'leaked_pairs'"):
        report["leaked_pairs"]
    assert "leaked_pairs" not in report


def test_leaks_of_pairs() -> None:
    validation = [
        SimilarityPairSample("Answer 5", "question\t5"),
        SimilarityPairSample("question 6", "something new"),
        SimilarityPairSample("new", "answer 7"),
    ]
    report = examine(pairs(), validation)
    assert counts(report) == {"leaked_pairs": 1, "leaked_queries": 1}
    assert report["shared_documents"].count == 1
    assert report["leaked_pairs"].examples == ("validation 0: Answer 5 | question\t5  (score 1)".replace("\t", " "),)


def test_groups() -> None:
    data = [SimilarityGroupSample(f"object {n}", n // 3) for n in range(30)]
    data += [SimilarityGroupSample("object 0", "other"), SimilarityGroupSample("alone", "lonely")]
    data += [SimilarityGroupSample("object 4", 1)]
    loader = GroupSimilarityDataLoader(data, batch_size=12, samples_per_group=3)
    report = examine(loader, [SimilarityGroupSample("OBJECT 7", 2), SimilarityGroupSample("new", 5)])
    found = counts(report)
    assert found == {"object_in_two_groups": 2, "lonely_groups": 2, "repeated_samples": 1, "leaked_objects": 1} or (
        found.pop("queries_without_positive_in_batch") and len(found) == 4
    )
    assert report["object_in_two_groups"].examples[0] == "train 0: object 0  (0)"


def test_small_groups_follow_the_sampler() -> None:
    data = [SimilarityGroupSample(n, n // 4) for n in range(16)] + [SimilarityGroupSample(100 + n, 9) for n in range(3)]
    report = examine(GroupSimilarityDataLoader(data, batch_size=8, samples_per_group=4))
    assert report["small_groups"].count == 1 and report.is_clean


def test_labels_and_rankings() -> None:
    labels = [SimilarityLabelSample("a", ["x", "y"]), SimilarityLabelSample("b", ["x"]), SimilarityLabelSample("c", [])]
    report = examine(LabelSimilarityDataLoader(labels, batch_size=3))
    assert counts(report)["unlabelled_objects"] == 1 and counts(report)["lonely_groups"] == 1
    rankings = [
        SimilarityRankingSample("q", ["a", "b"], [1.0, 0.0]),
        SimilarityRankingSample("q", ["b"], [2.0]),
        SimilarityRankingSample("r", ["c", "d"], [0.0, -1.0]),
        SimilarityRankingSample("s", [], []),
    ]
    report = examine(RankingSimilarityDataLoader(rankings, batch_size=4))
    assert counts(report)["conflicting_pairs"] == 2
    assert report["queries_without_positive"].count == 2
    assert report["queries_without_positive"].examples == ("train 2: r | c  (relevance 0)",)


def test_negatives_that_are_not_there() -> None:
    same = [SimilarityPairSample("one query", f"answer {n}") for n in range(16)]
    report = examine(PairsSimilarityDataLoader(same, batch_size=4))
    assert report["negatives"].severity == "error" and report["negatives"].count == 16
    subgroups = [SimilarityPairSample(f"q{n}", f"a{n}", subgroup=1) for n in range(16)]
    finding = examine(PairsSimilarityDataLoader(subgroups, batch_size=4))["negatives"]
    assert finding.severity == "error" and "3.00 more are left out" in finding.text


def test_near_twins_by_an_encoder() -> None:
    def encode(objects: list[Any], role: str) -> torch.Tensor:
        angles = torch.tensor([sum(map(ord, one)) * (1.0 if role == "query" else 2.0) for one in objects])
        return torch.stack([angles.cos(), angles.sin()], 1)

    data = [SimilarityPairSample("ab", "x"), SimilarityPairSample("ba", "yy"), SimilarityPairSample("ad", "zzz")]
    report = examine(data, [SimilarityPairSample("da", "x")], encode=encode, threshold=0.999)
    assert report["near_duplicate_queries"].count == 2
    assert report["near_duplicate_queries"].examples[0].startswith("1.000  ab | ba")
    assert report["near_leaked_queries"].count == 1
    assert "near_duplicate_documents" not in report and "near_leaked_documents" not in report
    few = examine(data, encode=encode, threshold=0.999, max_encoded=2)
    assert "near_duplicate_queries" not in few or few["near_duplicate_queries"].total == 2


def test_streams_rows_and_objects_that_are_no_texts() -> None:
    class Rows:
        def __iter__(self) -> Any:
            return iter(
                [{"q": "a b", "d": {"title": "T", "text": "x"}}, {"q": "A  B", "d": {"title": "t ", "text": "X"}}]
            )

    loader = PairsSimilarityDataLoader(Rows(), batch_size=2, obj_a="q", obj_b="d")
    assert counts(examine(loader))["repeated_samples"] == 1
    numbers = [SimilarityGroupSample([0.5, float(n // 2)], n % 3) for n in range(12)]
    assert counts(examine(numbers))["object_in_two_groups"] == 12
    unkeyed = object()
    assert "repeated_samples" not in counts(examine([SimilarityGroupSample(object(), 1) for _ in range(4)]))
    assert counts(examine([SimilarityGroupSample(unkeyed, 1)] * 2))["repeated_samples"] == 1


def test_normalisation_and_what_is_shown() -> None:
    assert normalised(["ＡＢＣ", {"k": " Straße "}]) == ["abc", {"k": "strasse"}]
    assert normalised([1.0, 2.0]) == [1.0, 2.0]
    assert shown("line\n\x1b[31mred") == "line  [31mred"
    assert shown("x" * 100, 10) == "xxxxxxxxx…"


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="data set is empty"):
        examine([])
    with pytest.raises(TypeError, match="got a str among the data"):
        examine(["a"])
    with pytest.raises(TypeError, match="different kinds"):
        examine(pairs(), [SimilarityGroupSample("a", 1)])
    with pytest.raises(ValueError, match="threshold"):
        examine(pairs(), threshold=1.5)
    with pytest.raises(ValueError, match="score must be a finite number"):
        examine([SimilarityPairSample("a", "b", score=float("nan"))])
