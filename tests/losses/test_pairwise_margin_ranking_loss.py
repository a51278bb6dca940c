"""Two candidates at a time. What it shares with other ranking losses is tested in `test_ranking_loss.py`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult, PairwiseMarginRankingLoss
from simlearn.relations import Relation
from simlearn.scoring import DotScorer


def result_of(
    loss: PairwiseMarginRankingLoss, scores: Tensor, relevances: list[float], counts: list[int]
) -> LossResult:
    """Of candidates with the given scores."""
    offsets = torch.tensor([0, *counts]).cumsum(0)
    queries, documents = Embeddings(torch.ones(len(counts), 1).to(scores)), Embeddings(scores[:, None])
    return loss.compute(queries, documents, Relation.from_ranking(offsets, torch.tensor(relevances)), DotScorer())


def test_every_two_candidates_of_different_relevance_are_compared() -> None:
    scores = torch.tensor([0.5, 0.2, 0.9, 0.4])
    value = result_of(PairwiseMarginRankingLoss(0.2), scores, [3.0, 1.0, 1.0, 0.0], [4]).value
    gaps = [0.5 - 0.2, 0.5 - 0.9, 0.5 - 0.4, 0.2 - 0.4, 0.9 - 0.4]
    assert value.item() == pytest.approx(sum(max(0.2 - gap, 0) for gap in gaps) / 5)


def test_without_a_margin_it_is_ranknet() -> None:
    value = result_of(PairwiseMarginRankingLoss(None, scale=2.0), torch.tensor([0.5, 0.8]), [1.0, 0.0], [2]).value
    assert value.item() == pytest.approx(math.log1p(math.exp(2 * 0.3)))


def test_a_long_list_counts_no_more_than_a_short_one() -> None:
    loss, scores = PairwiseMarginRankingLoss(1.0), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    long = result_of(loss, scores[:4], [0.0, 1.0, 2.0, 3.0], [4])
    short = result_of(loss, scores[4:], [1.0, 0.0], [2])
    both = result_of(loss, scores, [0.0, 1.0, 2.0, 3.0, 1.0, 0.0], [4, 2])
    torch.testing.assert_close(both.value, (long.value + short.value) / 2)


def test_equal_relevances_are_counted() -> None:
    scores = torch.tensor([0.5, 0.2, 0.9], requires_grad=True)
    result = result_of(PairwiseMarginRankingLoss(), scores, [1.0, 1.0, 0.0], [2, 1])
    result.value.backward()
    assert result.value == 0 and result.weight == 0
    assert result.counts["queries_of_one_relevance"] == 1 and result.counts["queries_without_choice"] == 1
    assert scores.grad is not None and not scores.grad.any()


@pytest.mark.parametrize("margin", [0.3, None])
@pytest.mark.parametrize("tile_bytes", [1, 128 * 7, 128 * 50])
def test_the_size_of_the_blocks_changes_nothing(margin: float | None, tile_bytes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = [0, 7, 1, 12, 0, 2]
    relevances = torch.randint(3, (22,), generator=generator).tolist()
    outcomes = []
    for budget in (2**26, tile_bytes):
        loss = PairwiseMarginRankingLoss(margin)
        loss.tile_bytes = budget
        scores = torch.randn(22, dtype=torch.float64, generator=generator.manual_seed(1), requires_grad=True)
        result = result_of(loss, scores, [float(r) for r in relevances], counts)
        result.value.backward()
        outcomes.append((result.value.detach(), result.weight, scores.grad))
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-12, atol=1e-14)


def test_pairs_are_not_kept_for_the_backward_pass() -> None:
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    scores = torch.randn(500, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result_of(PairwiseMarginRankingLoss(), scores, [float(i) for i in range(500)], [500])
    assert max(kept) <= 500
