"""InfoNCE and its kin: other libraries' values, the papers' special cases, and the temperature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import InfoNCELoss, MultipleNegativesRankingLoss, SimilarityLoss
from simlearn.relations import Relation

GENERATOR = torch.Generator().manual_seed(0)
QUERIES, DOCUMENTS, OBJECTS = torch.randn(3, 12, 6, dtype=torch.float64, generator=GENERATOR)
GROUPS = torch.arange(12) % 3
PAIRS = Relation.from_pairs(torch.ones(12))


def value_of(loss: SimilarityLoss, relation: Relation, queries: Tensor = QUERIES) -> Tensor:
    result = loss.compute(Embeddings(queries), Embeddings(DOCUMENTS), relation, loss.scorer())
    assert not isinstance(result, Tensor)
    return result.value


def of_groups(loss: InfoNCELoss, embeddings: Tensor = OBJECTS, groups: Tensor = GROUPS) -> Tensor:
    objects = Embeddings(embeddings)
    return loss.compute(objects, objects, Relation.from_groups(groups), loss.scorer()).value


def test_pairs_are_clip() -> None:
    logits = F.normalize(QUERIES) @ F.normalize(DOCUMENTS).T / 0.07
    rows = torch.arange(12)
    expected = (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)) / 2
    torch.testing.assert_close(value_of(InfoNCELoss(0.07), PAIRS), expected)
    torch.testing.assert_close(value_of(InfoNCELoss(0.07, symmetric=False), PAIRS), F.cross_entropy(logits, rows))


@pytest.mark.parametrize("positives", ["each", "supcon", "any"])
def test_one_positive_an_anchor_is_one_loss(positives: str) -> None:
    loss = InfoNCELoss(positives=positives)  # type: ignore[arg-type]
    torch.testing.assert_close(value_of(loss, PAIRS), value_of(MultipleNegativesRankingLoss(symmetric=True), PAIRS))


def test_views_are_nt_xent_of_pytorch_metric_learning() -> None:
    from pytorch_metric_learning.losses import NTXentLoss

    views = torch.arange(12) % 6
    torch.testing.assert_close(of_groups(InfoNCELoss(0.1), groups=views), NTXentLoss(0.1)(OBJECTS, views))


def test_supcon_is_that_of_pytorch_metric_learning() -> None:
    from pytorch_metric_learning.losses import SupConLoss

    groups = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])  # the anchor alone in its group counts in neither
    ours, theirs = OBJECTS.clone().requires_grad_(), OBJECTS.clone().requires_grad_()
    value, expected = of_groups(InfoNCELoss(0.2, positives="supcon"), ours, groups), SupConLoss(0.2)(theirs, groups)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, x)[0] for v, x in ((value, ours), (expected, theirs))))


def test_any_is_content_with_one_near_positive() -> None:
    near = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    groups = torch.tensor([0, 0, 0, 1])
    objects = Embeddings(near)
    values = {}
    for positives in ("each", "any"):
        loss = InfoNCELoss(0.05, positives=positives)  # type: ignore[arg-type]
        values[positives] = loss.compute(objects, objects, Relation.from_groups(groups), loss.scorer()).value
    # Of the two near ones each has a positive; only the one far away from both has none.
    assert values["any"] == pytest.approx((20 - math.log(2)) / 3, abs=1e-3)
    assert values["each"] > 2 * values["any"]


def test_the_margin_is_taken_from_positives_only() -> None:
    logits = (F.normalize(QUERIES) @ F.normalize(DOCUMENTS).T - 0.3 * torch.eye(12, dtype=torch.float64)) / 0.05
    value = value_of(InfoNCELoss(margin=0.3, symmetric=False), PAIRS)
    torch.testing.assert_close(value, F.cross_entropy(logits, torch.arange(12)))


def test_a_learnt_temperature_starts_where_told_and_learns() -> None:
    fixed, learnt = InfoNCELoss(0.2), InfoNCELoss(0.2, learnable_temperature=True).double()
    assert not list(fixed.parameters()) and learnt.temperature == pytest.approx(0.2)
    torch.testing.assert_close(value_of(learnt, PAIRS), value_of(fixed, PAIRS), rtol=1e-6, atol=0)
    # What is already ranked right is told apart more sharply at a lower temperature.
    optimizer = torch.optim.SGD(learnt.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        value_of(learnt, PAIRS, DOCUMENTS).backward()
        optimizer.step()
    assert learnt.temperature < 0.2


@pytest.mark.parametrize(("start", "least"), [(0.07, 0.01), (0.002, 0.002)])
def test_a_learnt_temperature_is_bounded_and_comes_back(start: float, least: float) -> None:
    loss = InfoNCELoss(start, learnable_temperature=True)
    assert loss.log_scale is not None
    with torch.no_grad():
        loss.log_scale.fill_(20.0)
    assert loss.temperature == pytest.approx(least, rel=1e-5)
    value_of(loss, PAIRS).backward()  # random pairs are ranked wrong: a higher temperature would cost less
    assert loss.log_scale.grad is not None and loss.log_scale.grad > 0


@pytest.mark.parametrize("positives", ["each", "supcon", "any"])
def test_anchors_without_positives_or_negatives_are_counted(positives: str) -> None:
    loss = InfoNCELoss(positives=positives)  # type: ignore[arg-type]
    for groups, missing in (([0] * 12, "negative"), (list(range(12)), "positive")):
        embeddings = OBJECTS.clone().requires_grad_()
        objects = Embeddings(embeddings)
        result = loss.compute(objects, objects, Relation.from_groups(torch.tensor(groups)), loss.scorer())
        assert result.value == 0 and int(result.counts[f"anchors_without_{missing}"]) == 12
        assert not torch.autograd.grad(result.value, embeddings)[0].any()


def test_graded_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="InfoNCELoss got the score 0.5"):
        InfoNCELoss().relation_check()(Relation.from_pairs(torch.tensor([1.0, 0.5])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"margin": -1.0}, "margin must not be negative, got -1.0"),
        ({"positives": "none"}, "positives must be one of each, supcon, any, got 'none'"),
    ],
)
def test_options_are_checked(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InfoNCELoss(**options)  # type: ignore[arg-type]
