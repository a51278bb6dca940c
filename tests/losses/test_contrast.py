"""The contrastive core against the same loss of a whole matrix, differentiated by torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from asymmetric_scorers import Bilinear, MaxSim
from processes import run_on_two
from torch import Tensor
from torch.testing import assert_close

from simlearn.distributed import all_reduce_sum
from simlearn.embeddings import Embeddings
from simlearn.losses import InfoNCELoss, LossResult
from simlearn.losses.contrast import contrast
from simlearn.losses.formula import Formula, over_masks
from simlearn.losses.global_loss import gather_batch
from simlearn.losses.infonce_loss import any_positive, supervised_contrastive
from simlearn.losses.multiple_negatives_ranking_loss import each_positive
from simlearn.relations import Relation
from simlearn.scoring import DotScorer, Scorer

SIZE = 5
FORMULAS: dict[str, Formula] = {"each": each_positive, "supcon": supervised_contrastive, "any": any_positive}
WHOLE, ROWS, CELLS = 2**26, 8 * 8 * 12, 8 * 8 * 3
"""Budgets: of everything, of a row or so, and of three cells."""


def made(vectors: int = 1, seed: int = 0, rows: int = 7, columns: int = 9) -> tuple[Tensor, Tensor, Relation]:
    """Queries and documents with a matrix of positives (some rows have none, or several), negatives, and unknown."""
    generator = torch.Generator().manual_seed(seed)
    shape = () if vectors == 1 else (vectors,)
    queries = torch.randn((rows, *shape, SIZE), generator=generator, dtype=torch.float64)
    documents = torch.randn((columns, *shape, SIZE), generator=generator, dtype=torch.float64)
    kinds = torch.randint(0, 4, (rows, columns), generator=generator).double()
    matrix = torch.where(kinds == 0, 1.0, torch.where(kinds == 1, torch.nan, 0.0))
    matrix[:, 0], matrix[0], matrix[1] = 0.0, 0.0, 1.0
    return queries, documents, Relation.from_matrix(matrix)


def by_matrix(
    queries: Tensor,
    documents: Tensor,
    relation: Relation,
    scorer: Scorer,
    formula: Formula,
    scale: Any,
    margin: float = 0.0,
    symmetric: bool = False,
    per_row: Tensor | None = None,
    per_column: Tensor | None = None,
) -> Tensor:
    logits = scorer(Embeddings(queries), Embeddings(documents)) * scale
    if per_column is not None:
        logits = logits + per_column
    positives, negatives = relation.positives(), relation.negatives()
    there = over_masks(formula, logits, positives, negatives, margin * scale, per_row).value
    if not symmetric:
        return there
    return (there + over_masks(formula, logits.T, positives.T, negatives.T, margin * scale).value) / 2


def value_of(result: LossResult | Tensor) -> Tensor:
    return result.value if isinstance(result, LossResult) else result


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS.keys())
@pytest.mark.parametrize("symmetric", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("tile_bytes", [WHOLE, ROWS, CELLS, 1])
@pytest.mark.parametrize("scorer", [DotScorer, Bilinear, MaxSim])
def test_value_and_gradients_are_those_of_the_matrix(
    scorer: Callable[[], Scorer], tile_bytes: int, symmetric: bool, formula: Formula
) -> None:
    measure = scorer().double()
    queries, documents, relation = made(3 if scorer is MaxSim else 1)
    scale, given = torch.tensor(1.7, dtype=torch.float64), torch.Generator().manual_seed(1)
    per_row = torch.randn(len(queries), generator=given, dtype=torch.float64)
    per_column = torch.randn(len(documents), generator=given, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (queries, documents, scale, per_row, per_column)]
    leaves += list(measure.parameters())
    options: dict[str, Any] = {"margin": 0.3, "symmetric": symmetric, "per_row": per_row, "per_column": per_column}
    expected = by_matrix(queries, documents, relation, measure, formula, scale, **options)
    expected_gradients = torch.autograd.grad(expected, leaves)
    first, second = Embeddings(queries), Embeddings(documents)
    result = contrast(first, second, relation, measure, formula, scale, tile_bytes=tile_bytes, **options)
    assert_close(result.value, expected, rtol=1e-11, atol=1e-13)
    for found, wanted in zip(torch.autograd.grad(result.value, leaves), expected_gradients, strict=True):
        assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("tile_bytes", [WHOLE, ROWS, 1])
@pytest.mark.parametrize("symmetric", [False, True], ids=["one way", "both ways"])
def test_counts_are_those_of_the_queries(symmetric: bool, tile_bytes: int) -> None:
    queries, documents, relation = made()
    embeddings = Embeddings(queries), Embeddings(documents)
    result = contrast(*embeddings, relation, DotScorer(), each_positive, symmetric=symmetric, tile_bytes=tile_bytes)
    expected = {
        "anchors_without_positive": int((~relation.positives().any(1)).sum()),
        "anchors_without_negative": int((~relation.negatives().any(1)).sum()),
    }
    assert {name: int(count) for name, count in result.counts.items()} == expected
    assert expected == {"anchors_without_positive": 1, "anchors_without_negative": 1}


@pytest.mark.parametrize("scale", [1e-3, 30.0, 300.0, 1e5], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_scores_of_any_range(scale: float, dtype: torch.dtype) -> None:
    """One exponential for rows and columns would call whole rows zero where scores lie far apart."""
    queries, documents, relation = made(seed=3)
    queries[2] -= 20  # a row that is far below all others
    leaves = [queries.to(dtype).requires_grad_(), documents.to(dtype).requires_grad_()]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    expected = by_matrix(*exact, relation, DotScorer(), each_positive, scale, symmetric=True)
    first, second = (Embeddings(leaf) for leaf in leaves)
    value = contrast(first, second, relation, DotScorer(), each_positive, scale, symmetric=True).value
    value.backward()
    expected.backward()
    accuracy = 1e-9 if dtype is torch.float64 else 2e-4
    assert_close(value.double(), expected, rtol=accuracy, atol=accuracy)
    for leaf, wanted in zip(leaves, exact, strict=True):
        assert leaf.grad is not None and leaf.grad.isfinite().all()
        assert_close(leaf.grad.double(), wanted.grad, rtol=accuracy, atol=accuracy * scale)


@pytest.mark.parametrize("tile_bytes", [WHOLE, 1])
def test_a_logit_of_nothing_is_none(tile_bytes: int) -> None:
    """Not even where a row has no negative: two of −inf have a difference of NaN."""
    queries, documents, relation = made()
    queries.requires_grad_()
    first, second = Embeddings(queries), Embeddings(documents)
    nothing = torch.full((len(queries),), -torch.inf, dtype=torch.float64, requires_grad=True)
    values = [
        contrast(first, second, relation, DotScorer(), each_positive, per_row=given, tile_bytes=tile_bytes).value
        for given in (None, nothing)
    ]
    assert_close(values[0], values[1])
    gradients = torch.autograd.grad(values[1], [queries, nothing])
    assert all(gradient.isfinite().all() for gradient in gradients) and not gradients[1].any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)], ids=str)
@pytest.mark.parametrize("symmetric", [False, True], ids=["one way", "both ways"])
def test_nothing_to_compare_is_a_zero_in_the_graph(symmetric: bool, shape: tuple[int, int]) -> None:
    queries, documents = (torch.zeros(size, SIZE, requires_grad=True) for size in shape)
    relation = Relation.from_matrix(torch.zeros(shape, dtype=torch.bool))
    result = contrast(
        Embeddings(queries), Embeddings(documents), relation, DotScorer(), each_positive, symmetric=symmetric
    )
    result.value.backward()
    assert result.value == 0 and queries.grad is not None


def test_frozen_documents_and_no_gradient_at_all() -> None:
    queries, documents, relation = made()
    first, second = Embeddings(queries), Embeddings(documents)
    plain = contrast(first, second, relation, DotScorer(), each_positive, symmetric=True).value
    assert not plain.requires_grad
    queries.requires_grad_()
    learnt = contrast(Embeddings(queries), second, relation, DotScorer(), each_positive, symmetric=True).value
    assert_close(learnt.detach(), plain)
    expected = by_matrix(queries, documents, relation, DotScorer(), each_positive, 1.0, symmetric=True)
    assert_close(torch.autograd.grad(learnt, queries), torch.autograd.grad(expected, queries))


def gradients_on_two(
    queries: Tensor, documents: Tensor, options: dict[str, Any], tile_bytes: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The loss of the gathered batch, and the gradients of weight and temperature, as DDP averages them."""
    weight = torch.eye(SIZE, dtype=torch.float64).requires_grad_()
    loss = InfoNCELoss(**options).double()
    loss.tile_bytes = tile_bytes
    first, second = Embeddings(queries @ weight), Embeddings(documents @ weight)
    relation = Relation.from_pairs(torch.ones(len(queries)))
    result = value_of(loss.compute(*gather_batch(first, second, relation), loss.scorer()))
    gradients = torch.autograd.grad(result, [weight, *loss.parameters()])
    return result.detach(), weight.detach(), [all_reduce_sum(gradient) / 2 for gradient in gradients]


@pytest.mark.parametrize("tile_bytes", [WHOLE, CELLS, 1])
@pytest.mark.parametrize("positives", FORMULAS)
@pytest.mark.parametrize("symmetric", [False, True], ids=["one way", "both ways"])
def test_two_processes_equal_one_where_columns_are_cut(symmetric: bool, positives: str, tile_bytes: int) -> None:
    options = {"symmetric": symmetric, "positives": positives, "learnable_temperature": True, "temperature": 0.5}
    queries, documents, _ = made(rows=7, columns=7)
    given = [(queries[rows], documents[rows], options, tile_bytes) for rows in (slice(0, 2), slice(2, 7))]
    weight = torch.eye(SIZE, dtype=torch.float64).requires_grad_()
    loss = InfoNCELoss(**options).double()  # type: ignore[arg-type]
    relation = Relation.from_pairs(torch.ones(7))
    whole = value_of(
        loss.compute(Embeddings(queries @ weight), Embeddings(documents @ weight), relation, loss.scorer())
    )
    expected = torch.autograd.grad(whole, [weight, *loss.parameters()])
    for value, _, gradients in run_on_two(gradients_on_two, *given):
        assert_close(value, whole.detach(), rtol=1e-10, atol=1e-12)
        for found, wanted in zip(gradients, expected, strict=True):
            assert_close(found, wanted, rtol=1e-8, atol=1e-10)
