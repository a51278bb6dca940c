"""A teacher's distribution. What it shares with other ranking losses is tested in `test_ranking_loss.py`."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import KLDistillationLoss
from simlearn.relations import Relation

N, C = 4, 3
GENERATOR = torch.Generator().manual_seed(0)
QUERIES, DOCUMENTS = torch.randn(N, 5, generator=GENERATOR), torch.randn(N, C, 5, generator=GENERATOR)
TEACHER = 8 * torch.randn(N, C, generator=GENERATOR)
RELATION = Relation.from_ranking(torch.arange(0, N * C + 1, C), TEACHER.flatten())


def value_of(loss: KLDistillationLoss, relation: Relation = RELATION) -> torch.Tensor:
    return loss.compute(Embeddings(QUERIES), Embeddings(DOCUMENTS.flatten(0, 1)), relation, loss.scorer()).value


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equal_to_torch(temperature: float) -> None:
    scores = 20 * F.cosine_similarity(QUERIES[:, None], DOCUMENTS, dim=2)
    student, teacher = ((x / temperature).log_softmax(1) for x in (scores, TEACHER))
    expected = temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    torch.testing.assert_close(value_of(KLDistillationLoss(temperature)), expected)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equal_to_sentence_transformers(temperature: float) -> None:
    theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    loss = theirs.DistillKLDivLoss(nn.Identity(), temperature=temperature)
    expected = loss.compute_loss_from_embeddings([QUERIES, *DOCUMENTS.unbind(1)], TEACHER)
    torch.testing.assert_close(value_of(KLDistillationLoss(temperature, 1.0, "dot_product")), expected)


def test_of_the_teachers_own_scores_it_is_zero() -> None:
    loss = KLDistillationLoss(2.0, 3.0, "dot_product")
    own = 3.0 * (QUERIES[:, None] * DOCUMENTS).sum(2) + 7.0  # the level does not matter
    relation = Relation.from_ranking(torch.arange(0, N * C + 1, C), own.flatten())
    assert value_of(loss, relation).item() == pytest.approx(0.0, abs=1e-5)
