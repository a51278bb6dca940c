"""The pure functions: ties, empty rows and what is counted. Their values are tested with the losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from simlearn.losses import LossResult
from simlearn.losses.contrastive_loss import contrastive
from simlearn.losses.formula import over_masks
from simlearn.losses.multiple_negatives_ranking_loss import each_positive
from simlearn.losses.triplet_loss import (
    triplet_all,
    triplet_hard,
    triplet_semi_hard,
)


def multiple_negatives(scores: Tensor, positives: Tensor, negatives: Tensor) -> LossResult:
    return over_masks(each_positive, scores, positives, negatives)


MASKED: dict[str, Callable[[Tensor, Tensor, Tensor], LossResult]] = {
    "multiple_negatives": multiple_negatives,
    "hard": lambda *masks: triplet_hard(*masks, margin=0.3),
    "soft": lambda *masks: triplet_hard(*masks, margin=0.3, soft=True),
    "semi_hard": lambda *masks: triplet_semi_hard(*masks, margin=0.3),
    "all": lambda *masks: triplet_all(*masks, margin=0.3),
}
each_function = pytest.mark.parametrize("function", MASKED.values(), ids=MASKED.keys())

# Distances on a grid, so that many are equal; and for each cell whether it is positive (1), negative (-1) or neither.
GRIDS = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), min_size=width, max_size=width),
            st.lists(st.sampled_from([1, -1, 0]), min_size=width, max_size=width),
        ),
        min_size=1,
        max_size=6,
    )
)


def tensors(grid: list[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor, Tensor]:
    distances = torch.tensor([values for values, _ in grid], dtype=torch.float64) / 4
    kinds = torch.tensor([kinds for _, kinds in grid])
    return distances, kinds == 1, kinds == -1


def triplets(distances: Tensor, positives: Tensor, negatives: Tensor) -> list[tuple[float, list[float]]]:
    """The distance of each positive, with those of its anchor's negatives."""
    rows = zip(distances, positives, negatives, strict=True)
    return [(p, row[no].tolist()) for row, yes, no in rows for p in row[yes].tolist() if no.any()]


@given(GRIDS, st.sampled_from([0.0, 0.25, 0.5, 2.0]))
@settings(deadline=None)
def test_all_counts_no_triplet_on_the_margin(grid: list[tuple[list[int], list[int]]], margin: float) -> None:
    given_tensors = tensors(grid)
    terms = [p - n + margin for p, negatives in triplets(*given_tensors) for n in negatives if p - n + margin > 0]
    expected = sum(terms) / max(len(terms), 1)
    assert triplet_all(*given_tensors, margin).value.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(GRIDS, st.sampled_from([0.0, 0.25, 0.5, 2.0]))
@settings(deadline=None)
def test_semi_hard_negatives_are_strictly_farther(grid: list[tuple[list[int], list[int]]], margin: float) -> None:
    given_tensors = tensors(grid)
    terms = []
    for p, negatives in triplets(*given_tensors):
        chosen = min((n for n in negatives if n > p), default=max(negatives))
        terms.append(max(p - chosen + margin, 0.0))
    expected = sum(terms) / max(len(terms), 1)
    assert triplet_semi_hard(*given_tensors, margin).value.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@each_function
@given(grid=GRIDS)
@settings(deadline=None, max_examples=50)
def test_lonely_anchors_are_counted_and_stay_in_the_graph(
    function: Callable[..., LossResult], grid: list[tuple[list[int], list[int]]]
) -> None:
    distances, positives, negatives = tensors(grid)
    distances.requires_grad_()
    result = function(distances, positives, negatives)
    value, counts = result.value, result.counts
    value.backward()
    assert distances.grad is not None and distances.grad.isfinite().all()
    lonely = ~(positives.any(1) & negatives.any(1))
    assert not distances.grad[lonely].any()
    assert {name: int(count) for name, count in counts.items()} == {
        "anchors_without_positive": int((~positives.any(1)).sum()),
        "anchors_without_negative": int((~negatives.any(1)).sum()),
    }


@each_function
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3), (3, 3)], ids=str)
def test_nothing_to_compare_is_a_zero_in_the_graph(function: Callable[..., LossResult], shape: tuple[int, int]) -> None:
    distances = torch.ones(shape, requires_grad=True)
    none = torch.zeros(shape, dtype=torch.bool)
    result = function(distances, none, none)
    value, counts = result.value, result.counts
    value.backward()
    assert value == 0 and distances.grad is not None and not distances.grad.any()
    assert {int(count) for count in counts.values()} == {shape[0]}


def test_multiple_negatives_with_one_positive_is_cross_entropy() -> None:
    scores = torch.randn(6, 6, dtype=torch.float64) * 5
    diagonal = torch.eye(6, dtype=torch.bool)
    expected = F.cross_entropy(scores, torch.arange(6))
    torch.testing.assert_close(multiple_negatives(scores, diagonal, ~diagonal).value, expected)


def test_several_positives_are_not_in_each_others_denominator() -> None:
    scores = torch.tensor([[2.0, 3.0, 1.0, 0.5]], dtype=torch.float64)
    positives = torch.tensor([[True, True, False, False]])
    value = multiple_negatives(scores, positives, ~positives).value
    columns = [[0, 2, 3], [1, 2, 3]]
    expected = sum(F.cross_entropy(scores[:, chosen], torch.tensor([0])) for chosen in columns) / 2
    torch.testing.assert_close(value, expected)


def test_an_anchor_that_only_has_positives_adds_a_zero_to_the_mean() -> None:
    scores = torch.tensor([[2.0, 3.0], [2.0, 1.0]])
    positives, negatives = torch.tensor([[True, True], [True, False]]), torch.tensor([[False, False], [False, True]])
    expected = F.cross_entropy(scores[1:], torch.tensor([0])) / 2
    torch.testing.assert_close(multiple_negatives(scores, positives, negatives).value, expected)


def test_scores_of_any_size_do_not_overflow() -> None:
    scores = torch.tensor([[1e30, -1e30, 0.0], [-1e30, 1e30, 1e30], [0.0, 0.0, -1e30]], requires_grad=True)
    diagonal = torch.eye(3, dtype=torch.bool)
    value = multiple_negatives(scores, diagonal, ~diagonal).value
    value.backward()
    assert value.isfinite() and scores.grad is not None and scores.grad.isfinite().all()


def test_hard_raises_the_loss_when_all_embeddings_move_together() -> None:
    """A loss that falls by shrinking all distances collapses; this one does not change."""
    distances, kinds = torch.rand(6, 6, dtype=torch.float64), torch.arange(6) % 2
    positives = kinds[:, None] == kinds
    values = [triplet_hard(distances * scale, positives, ~positives, 0.3).value for scale in (1.0, 0.01)]
    torch.testing.assert_close(values[0], values[1])
    negative = triplet_hard(distances - 2.0, positives, ~positives, 0.3).value
    assert negative < 10, "distances below zero, as those of the dot product, must not divide by the least value"


def test_contrastive_weighs_both_terms_by_the_score() -> None:
    distances, scores = torch.tensor([0.2, 0.2, 0.2, 0.9]), torch.tensor([1.0, 0.0, 0.5, 0.0])
    expected = torch.tensor([0.5 * 0.04, 0.5 * 0.09, 0.25 * 0.04 + 0.25 * 0.09, 0.0])
    torch.testing.assert_close(contrastive(distances, scores, 0.5), expected)


@pytest.mark.parametrize("function", [triplet_all, triplet_semi_hard], ids=["all", "semi_hard"])
def test_no_cubic_tensor(function: Callable[..., LossResult]) -> None:
    """With 2000 objects all triplets would be 32 gigabytes; no operation takes more than matrices of 16 megabytes."""
    groups = torch.arange(2000) % 100
    positives = (groups[:, None] == groups) & ~torch.eye(2000, dtype=torch.bool)
    distances = torch.rand(2000, 2000, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function(distances, positives, groups[:, None] != groups, 0.3).value.backward()
    largest = max(event.self_cpu_memory_usage for event in profile.events())
    assert largest <= 16 * 2000 * 2000
