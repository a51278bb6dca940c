"""The sigmoid loss: the paper's formula, and what it learns besides."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import SigmoidLoss
from simlearn.relations import Relation

QUERIES, DOCUMENTS = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
PAIRS = Relation.from_pairs(torch.ones(8))


def value_of(loss: SigmoidLoss, queries: Tensor = QUERIES, documents: Tensor = DOCUMENTS) -> Tensor:
    return loss.compute(Embeddings(queries), Embeddings(documents), PAIRS, loss.scorer()).value


def test_it_is_algorithm_1_of_the_paper() -> None:
    logits = 10 * F.normalize(QUERIES) @ F.normalize(DOCUMENTS).T - 10
    signs = 2 * torch.eye(8) - 1
    torch.testing.assert_close(value_of(SigmoidLoss()), -F.logsigmoid(signs * logits).sum() / 8)


def test_queries_and_documents_may_change_places() -> None:
    torch.testing.assert_close(value_of(SigmoidLoss(), DOCUMENTS, QUERIES), value_of(SigmoidLoss()))


def test_scale_and_bias_are_learnt() -> None:
    loss = SigmoidLoss()
    assert {name for name, _ in loss.named_parameters()} == {"log_scale", "bias"}
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        value = value_of(loss, torch.eye(8), torch.eye(8))
        value.backward()
        optimizer.step()
    assert loss.log_scale.exp() > 10 > -loss.bias and value < 0.1


def test_large_logits_have_a_gradient() -> None:
    queries = (-DOCUMENTS).requires_grad_()
    value_of(SigmoidLoss(scale=1e4), queries).backward()
    assert queries.grad is not None and queries.grad.isfinite().all()


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="scale must be above 0, got 0.0"):
        SigmoidLoss(scale=0.0)
    with pytest.raises(ValueError, match="SigmoidLoss got the score 0.5"):
        SigmoidLoss().relation_check()(Relation.from_pairs(torch.tensor([1.0, 0.5])))
