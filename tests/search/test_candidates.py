"""Ranking each query's own candidates."""

from __future__ import annotations

import pytest
import torch

from simlearn.ragged import Ragged
from simlearn.scoring import DotScorer
from simlearn.search import rank_candidates, top_k


def test_it_equals_a_search_of_the_candidates_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = torch.randn(6, 8, generator=generator), torch.randn(50, 8, generator=generator)
    lists = [torch.randperm(50, generator=generator)[: 4 * row].tolist() for row in range(6)]
    found = rank_candidates(queries, documents, Ragged.from_lists(lists), 10)
    assert found.indices.shape == (6, 10)
    for row, columns in enumerate(lists):
        size = min(10, len(columns))
        alone = top_k(queries[row : row + 1], documents[columns], 10)
        assert found.indices[row, :size].tolist() == [columns[index] for index in alone.indices[0, :size].tolist()]
        torch.testing.assert_close(found.scores[row], alone.scores[0])
        assert (found.indices[row, size:] == -1).all()
    assert rank_candidates(queries, documents, Ragged.from_lists(lists)).indices.shape == (6, 20)


def test_of_equal_scores_the_earlier_candidate_comes_first() -> None:
    lists = Ragged.from_lists([[4, 0, 2], [1, 3]])
    found = rank_candidates(torch.ones(2, 1), torch.ones(5, 1), lists, scorer=DotScorer())
    assert found.indices.tolist() == [[4, 0, 2], [1, 3, -1]]


def test_what_does_not_fit() -> None:
    one = torch.ones(1, 2)
    with pytest.raises(ValueError, match="names row 1"):
        rank_candidates(one, one, Ragged.from_lists([[1]]))
    with pytest.raises(ValueError, match="document 0 has NaN"):
        rank_candidates(one, one * torch.nan, Ragged.from_lists([[0]]))
    with pytest.raises(ValueError, match="k must be"):
        rank_candidates(one, one, Ragged.from_lists([[0]]), 0)
