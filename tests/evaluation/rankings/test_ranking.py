"""Judgements and how rankings are judged."""

from __future__ import annotations

import pytest
import torch

from simlearn.evaluation import Qrels, Ranking


def test_grades_are_looked_up() -> None:
    qrels = Qrels.from_lists([[5, 0], [], [2]], [[2, 1], [], [-1]])
    indices = torch.tensor([[0, 3, 5, -1], [0, 1, 2, 5], [5, 2, 1, 99]])
    ranking = Ranking.of(indices, qrels)
    assert ranking.grades.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [0, -1, 0, 0]]
    assert ranking.n_relevant.tolist() == [2, 0, 0]
    assert Ranking.of(indices, qrels, relevance_level=2).n_relevant.tolist() == [1, 0, 0]


def test_qrels_from_ids() -> None:
    qrels = Qrels.from_ids({"q2": {"b": 2, "a": 1}}, ["q1", "q2"], ["a", "b", "c"])
    assert qrels.offsets.tolist() == [0, 0, 2] and qrels.documents.tolist() == [1, 0]
    with pytest.raises(ValueError, match="1 documents that are not among the documents given, for instance 'x'"):
        Qrels.from_ids({"q1": {"x": 1}}, ["q1"], ["a"])
    with pytest.raises(ValueError, match="1 queries"):
        Qrels.from_ids({"q9": {"a": 1}}, ["q1"], ["a"])


def test_a_ranking_of_groups_equals_one_of_qrels() -> None:
    groups = torch.tensor([4, 4, 9, 4, 2, 9])
    indices = torch.tensor([[row for row in range(6) if row != own] for own in range(6)])
    of_groups = Ranking.of_groups(indices, groups)
    alike = [[row for row in range(6) if row != own and groups[row] == groups[own]] for own in range(6)]
    of_qrels = Ranking.of(indices, Qrels.from_lists(alike))
    assert torch.equal(of_groups.grades, of_qrels.grades) and torch.equal(of_groups.offsets, of_qrels.offsets)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="judge document 3 twice for query 1"):
        Qrels.from_lists([[3], [3, 1, 3]])
    with pytest.raises(ValueError, match="NaN"):
        Qrels.from_lists([[3]], [[float("nan")]])
    with pytest.raises(ValueError, match="ranks document 2 twice"):
        Ranking.of(torch.tensor([[2, 1, 2]]), Qrels.from_lists([[2]]))
    with pytest.raises(ValueError, match="above 0"):
        Ranking.of(torch.tensor([[2]]), Qrels.from_lists([[2]]), relevance_level=0)
    with pytest.raises(ValueError, match="N = 1"):
        Ranking.of(torch.tensor([[2], [1]]), Qrels.from_lists([[2]]))


def test_judgements_of_some_queries() -> None:
    qrels = Qrels.from_lists([[3], [], [0, 2], [1]], [[1.0], [], [2.0, 0.0], [3.0]])
    some = qrels.take(torch.tensor([2, 0, 1]))
    assert some.offsets.tolist() == [0, 2, 3, 3]
    assert some.documents.tolist() == [0, 2, 3] and some.values.tolist() == [2.0, 0.0, 1.0]


def test_rankings_of_hits() -> None:
    ranking = Ranking.of_hits(torch.tensor([[True, False], [False, False]]), torch.tensor([3, 0]))
    assert ranking.n_relevant.tolist() == [3, 0] and ranking.relevant.tolist() == [[True, False], [False, False]]
