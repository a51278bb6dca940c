"""In-batch negatives, corrected for how often documents are drawn."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from processes import run_on_two
from torch import Tensor
from torch.nn import functional as F

from simlearn import DotScorer, Embeddings, InfoNCELoss, MultipleNegativesRankingLoss, Relation
from simlearn.losses.global_loss import global_loss
from simlearn.relations import Remembered

PROBABILITIES = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64)


def relation_of(size: int, log_q: Tensor | None, ids: Tensor | None = None) -> Relation:
    from dataclasses import replace

    ids = torch.arange(size) if ids is None else ids
    made = Relation.from_pairs(torch.ones(size), ids=(ids + 1000, ids))
    return replace(made, document_log_q=log_q)


def value(loss: Any, queries: Tensor, documents: Tensor, relation: Relation) -> Tensor:
    return global_loss(loss, Embeddings(queries), Embeddings(documents), relation, DotScorer()).value


def plain(scores: Tensor, log_q: Tensor, kind: str, symmetric: bool) -> Tensor:
    """Row by row; all objects are different."""
    size, total = len(scores), scores.new_zeros(())
    for row in range(size):
        logits = scores[row] - log_q - (torch.tensor(size - 1.0).log() if kind == "negatives" else 0.0)
        if kind == "negatives":
            logits = torch.where(torch.arange(size) == row, scores[row], logits)
        total = total - logits.log_softmax(0)[row]
    if not symmetric:
        return total / size
    return (total + sum(-scores[:, column].log_softmax(0)[column] for column in range(size))) / (2 * size)


@pytest.mark.parametrize("tile_bytes", [None, 1, 600])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kind", ["negatives", "all"])
def test_by_plain_loops(kind: Any, symmetric: bool, tile_bytes: int | None) -> None:
    torch.manual_seed(0)
    log_q = torch.rand(7, dtype=torch.float64).sub(2)
    for loss, scale in (
        (MultipleNegativesRankingLoss(3.0, symmetric=symmetric, log_q=kind), 3.0),
        (InfoNCELoss(0.5, symmetric=symmetric, log_q=kind, learnable_temperature=True).double(), 2.0),
    ):
        if tile_bytes is not None:
            loss.tile_bytes = tile_bytes
        queries, documents = (torch.randn(7, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
        found = value(loss, queries, documents, relation_of(7, log_q))
        factor = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        expected = plain(factor * queries @ documents.T, log_q, kind, symmetric)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
        own = torch.autograd.grad(found, [queries, documents, *loss.parameters()])
        others = torch.autograd.grad(expected, [queries, documents, factor])
        for one, other in zip(own, others, strict=False):
            expected_slope = other if one.ndim else other * scale
            torch.testing.assert_close(one, expected_slope, rtol=1e-5, atol=1e-7)


def test_true_is_sampled_softmax_and_the_same_q_for_all_is_no_correction() -> None:
    torch.manual_seed(0)
    queries, documents = torch.randn(5, 4), torch.randn(5, 4)
    uniform = torch.full((5,), -torch.tensor(4.0).log())
    plain_value = value(MultipleNegativesRankingLoss(), queries, documents, relation_of(5, None))
    for kind in (True, "negatives", "all"):
        found = value(MultipleNegativesRankingLoss(log_q=kind), queries, documents, relation_of(5, uniform))  # type: ignore[arg-type]
        torch.testing.assert_close(found, plain_value)


def mean_gradient(kind: Any, negatives: int) -> Tensor:
    """The expected gradient by the catalogue of the loss of a query for document 0, over all draws of negatives."""
    torch.manual_seed(1)
    query, catalogue = torch.randn(1, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    total = torch.zeros_like(catalogue)
    for draw in product(range(4), repeat=negatives):
        leaf = catalogue.clone().requires_grad_()
        rows = torch.tensor([0, *draw])
        log_q = PROBABILITIES.log()[rows] if kind else None
        # One query is judged; the others stand for the rest of the batch and ask nothing.
        relation = Relation.from_ranking(
            torch.tensor([0, len(rows)]),
            torch.tensor([1.0, *(float(one == 0) for one in draw)]),
            (torch.tensor([99]), rows),
        )
        from dataclasses import replace

        found = value(
            MultipleNegativesRankingLoss(1.0, log_q=kind), query, leaf[rows], replace(relation, document_log_q=log_q)
        )
        chance = PROBABILITIES[torch.tensor(draw)].prod()
        if found.requires_grad:
            total += chance * torch.autograd.grad(found, leaf, allow_unused=True)[0]
    return total


def test_which_correction_has_the_gradient_of_the_full_softmax() -> None:
    """With several negatives the negatives' correction comes near, that of Yi et al. and none at all do not."""
    torch.manual_seed(1)
    query, catalogue = torch.randn(1, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    leaf = catalogue.clone().requires_grad_()
    F.cross_entropy(query @ leaf.T, torch.tensor([0])).backward()
    assert leaf.grad is not None
    errors = {
        (kind, count): float((mean_gradient(kind, count) - leaf.grad).norm() / leaf.grad.norm())
        for kind in (False, "negatives", "all")
        for count in (2, 5)
    }
    assert errors["negatives", 5] < 0.5 * min(errors[False, 5], errors["all", 5]), errors
    assert errors["negatives", 5] < 0.7 * errors["negatives", 2], "it vanishes as more are drawn"


def test_documents_of_earlier_batches_are_corrected_too() -> None:
    torch.manual_seed(0)
    log_q = torch.rand(8).sub(3)
    queries, documents = torch.randn(4, 3), torch.randn(8, 3)
    now, before = relation_of(4, log_q[:4]), relation_of(4, log_q[4:], torch.arange(4, 8))
    whole = Remembered.of(before).behind(now)
    assert whole.document_log_q is not None and torch.equal(whole.document_log_q, log_q)
    found = value(MultipleNegativesRankingLoss(2.0, log_q=True), queries, documents, whole)
    logits = 2.0 * queries @ documents.T
    corrected = logits - log_q - torch.tensor(7.0).log()
    corrected[range(4), range(4)] = logits[range(4), range(4)]
    torch.testing.assert_close(found, F.cross_entropy(corrected, torch.arange(4)))


def _of_a_share(rows: slice) -> tuple[float, Tensor]:
    torch.manual_seed(0)
    queries, documents = (torch.randn(6, 4, dtype=torch.float64) for _ in range(2))
    log_q = torch.rand(6).sub(2)
    relation = relation_of(6, log_q)
    from dataclasses import replace

    own = Relation.from_pairs(torch.ones(3), ids=(torch.arange(6)[rows] + 1000, torch.arange(6)[rows]))
    relation = replace(own, document_log_q=log_q[rows])
    leaf = documents[rows].clone().requires_grad_()
    loss = MultipleNegativesRankingLoss(2.0, symmetric=True, log_q=True)
    found = value(loss, queries[rows], leaf, relation)
    found.backward()
    assert leaf.grad is not None
    return float(found.detach()), leaf.grad / 2  # DDP averages


def test_two_processes_are_one() -> None:
    torch.manual_seed(0)
    queries, documents = (torch.randn(6, 4, dtype=torch.float64) for _ in range(2))
    log_q = torch.rand(6).sub(2)
    leaf = documents.clone().requires_grad_()
    expected = value(
        MultipleNegativesRankingLoss(2.0, symmetric=True, log_q=True), queries, leaf, relation_of(6, log_q)
    )
    expected.backward()
    (one, first), (other, second) = run_on_two(_of_a_share, (slice(0, 3),), (slice(3, 6),))
    assert one == pytest.approx(float(expected.detach())) and other == pytest.approx(float(expected.detach()))
    torch.testing.assert_close(torch.cat([first, second]), leaf.grad)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="log_q must be True"):
        InfoNCELoss(log_q="positives")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="document_log_q='count'"):
        value(MultipleNegativesRankingLoss(log_q=True), torch.ones(2, 3), torch.ones(2, 3), relation_of(2, None))
    with pytest.raises(ValueError, match="document_log_q must have the shape"):
        relation_of(3, torch.zeros(2))
