"""A teacher's margins. What it shares with other ranking losses is tested in `test_ranking_loss.py`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses import MarginMSELoss
from simlearn.losses.margin_mse_loss import Margins
from simlearn.relations import Relation

N, C = 4, 3
MARGINS: tuple[Margins, ...] = ("first", "all")
GENERATOR = torch.Generator().manual_seed(0)
QUERIES, DOCUMENTS = torch.randn(N, 5, generator=GENERATOR), torch.randn(N, C, 5, generator=GENERATOR)
TEACHER = 8 * torch.randn(N, C, generator=GENERATOR)


def value_of(loss: MarginMSELoss, documents: Tensor = DOCUMENTS, teacher: Tensor = TEACHER) -> Tensor:
    count = documents.shape[1]
    relation = Relation.from_ranking(torch.arange(0, N * count + 1, count), teacher.flatten())
    return loss.compute(Embeddings(QUERIES), Embeddings(documents.flatten(0, 1)), relation, loss.scorer()).value


@pytest.mark.parametrize("count", [2, 3])
def test_equal_to_sentence_transformers(count: int) -> None:
    theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    documents, teacher = DOCUMENTS[:, :count], TEACHER[:, :count]
    expected = theirs.MarginMSELoss(nn.Identity()).compute_loss_from_embeddings(
        [QUERIES, *documents.unbind(1)], teacher
    )
    torch.testing.assert_close(value_of(MarginMSELoss(), documents, teacher), expected)


def test_of_two_candidates_all_margins_are_the_first() -> None:
    first, all_of_them = (value_of(MarginMSELoss(margins), DOCUMENTS[:, :2], TEACHER[:, :2]) for margins in MARGINS)
    torch.testing.assert_close(first, all_of_them)


def test_all_margins_do_not_depend_on_the_order_of_the_candidates() -> None:
    order = torch.tensor([2, 0, 1])
    for margins, same in zip(MARGINS, (False, True), strict=True):
        loss = MarginMSELoss(margins)
        assert torch.allclose(value_of(loss), value_of(loss, DOCUMENTS[:, order], TEACHER[:, order])) is same


@pytest.mark.parametrize("margins", MARGINS)
def test_the_students_level_is_free(margins: Margins) -> None:
    own = (QUERIES[:, None] * DOCUMENTS).sum(2) + 100.0
    loss = MarginMSELoss(margins)
    assert value_of(loss, teacher=own).item() == pytest.approx(0.0, abs=1e-8)


def test_huge_vectors_in_single_precision() -> None:
    documents = (1e4 * DOCUMENTS).requires_grad_()
    value = value_of(MarginMSELoss(), documents)
    value.backward()
    assert value.isfinite() and documents.grad is not None and documents.grad.isfinite().all()


def test_the_config_keeps_that_there_is_no_distance() -> None:
    assert MarginMSELoss().distance is Distance.DOT_PRODUCT
    assert MarginMSELoss(**MarginMSELoss(distance_metric_name=None).get_config_dict()).distance is None
