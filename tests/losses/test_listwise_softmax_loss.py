"""ListNet. What it shares with other ranking losses is tested in `test_ranking_loss.py`."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import ListwiseSoftmaxLoss, LossResult
from simlearn.relations import Relation
from simlearn.scoring import DotScorer


def result_of(scores: list[list[float]], relevances: list[list[float]], scale: float = 1.0) -> LossResult:
    offsets = torch.tensor([0, *map(len, scores)]).cumsum(0)
    relation = Relation.from_ranking(offsets, torch.tensor([value for row in relevances for value in row]))
    documents = Embeddings(torch.tensor([[value] for row in scores for value in row]))
    return ListwiseSoftmaxLoss(scale).compute(Embeddings(torch.ones(len(scores), 1)), documents, relation, DotScorer())


def test_of_one_positive_it_is_cross_entropy() -> None:
    scores = [[0.3, -0.2, 0.9], [0.1, 0.0, 0.4]]
    expected = F.cross_entropy(5 * torch.tensor(scores), torch.tensor([1, 2]))
    torch.testing.assert_close(result_of(scores, [[0, 1, 0], [0, 0, 3]], scale=5.0).value, expected)


def test_grades_share_the_probability() -> None:
    scores = [[0.3, -0.2, 0.9]]
    expected = F.cross_entropy(torch.tensor(scores), torch.tensor([[0.75, 0.0, 0.25]]))
    torch.testing.assert_close(result_of(scores, [[3.0, 0.0, 1.0]]).value, expected)


def test_queries_without_a_relevant_candidate_are_counted() -> None:
    result = result_of([[0.3, 0.1], [0.2, 0.4], [0.5]], [[0.0, 0.0], [1.0, 0.0], [1.0]])
    assert result.weight == 1
    assert result.counts == {"queries_without_choice": 1, "queries_without_positive": 1}


def test_bfloat16_scores_are_not_summed_up_in_bfloat16() -> None:
    """Two hundred scores that differ by less than bfloat16 tells apart at their size."""
    scores = [[1.0 + i / 1000 for i in range(200)]]
    relevances = [[1.0] + [0.0] * 199]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = result_of(scores, relevances, scale=100.0).value
    expected = F.cross_entropy(100 * torch.tensor(scores), torch.tensor([0]))
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_relevances_below_zero_have_no_share() -> None:
    check = pickle.loads(pickle.dumps(ListwiseSoftmaxLoss().relation_check()))
    offsets = torch.tensor([0, 2])
    check(Relation.from_ranking(offsets, torch.tensor([0.0, 3.0])))
    with pytest.raises(ValueError, match="0 or more, got -2; raise them to 0, or take KLDistillationLoss"):
        check(Relation.from_ranking(offsets, torch.tensor([-2.0, 3.0])))
