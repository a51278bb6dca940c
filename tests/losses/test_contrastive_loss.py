"""Pairs: values, subgroups, scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.losses import ContrastiveLoss
from simlearn.relations import Relation


def random_pairs(size: int = 6) -> tuple[Tensor, Tensor]:
    whole = torch.randn(2, size, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return whole[0], whole[1]


def value_of(loss: ContrastiveLoss, queries: Tensor, documents: Tensor, relation: Relation) -> Tensor:
    return loss.compute(Embeddings(queries), Embeddings(documents), relation, loss.scorer())


SCORES = torch.tensor([1.0, 0.0, 1.0, 0.3, 0.0, 1.0], dtype=torch.float64)


def pair_terms(distances: Tensor, margin: float) -> Tensor:
    scores = SCORES.float().double()
    return 0.5 * (scores * distances**2 + (1 - scores) * F.relu(margin - distances) ** 2)


@pytest.mark.parametrize("size_average", [True, False])
def test_equal_to_quaterion_without_subgroups(size_average: bool) -> None:
    queries, documents = random_pairs()
    terms = pair_terms(1 - F.cosine_similarity(queries, documents), 0.5)
    value = value_of(ContrastiveLoss(size_average=size_average), queries, documents, Relation.from_pairs(SCORES))
    torch.testing.assert_close(value, terms.mean() if size_average else terms.sum())


def test_equal_to_quaterion_with_subgroups() -> None:
    """It adds relu(m − nearest of another subgroup)² for both ends of each pair; here by manhattan distance."""
    queries, documents = random_pairs()
    subgroups = torch.tensor([0, 1, 1, 2, 0, 2])
    vectors, doubled = torch.cat([queries, documents]), subgroups.repeat(2)
    distances = torch.cdist(vectors, vectors, p=1)
    nearest = distances.masked_fill(doubled[:, None] == doubled, torch.inf).amin(1)
    pushes = (F.relu(4.0 - nearest) ** 2).view(2, -1).sum(0)
    expected = (pair_terms((queries - documents).abs().sum(1), 4.0) + pushes).mean()
    loss = ContrastiveLoss("manhattan", margin=4.0)
    torch.testing.assert_close(value_of(loss, queries, documents, Relation.from_pairs(SCORES, subgroups)), expected)


def test_two_towers_compare_queries_with_documents_only() -> None:
    from dataclasses import replace

    queries, documents = random_pairs()
    subgroups = torch.tensor([1, 1, 2, 2, 3, 3])
    relation = replace(Relation.from_pairs(SCORES, subgroups), one_space=False)
    distances = 1 - F.cosine_similarity(queries[:, None], documents[None], dim=2)
    masked = distances.masked_fill(subgroups[:, None] == subgroups, torch.inf)
    pushes = F.relu(0.9 - masked.amin(1)) ** 2 + F.relu(0.9 - masked.amin(0)) ** 2
    expected = (pair_terms(distances.diagonal(), 0.9) + pushes).mean()
    torch.testing.assert_close(value_of(ContrastiveLoss(margin=0.9), queries, documents, relation), expected)


def test_an_object_of_two_subgroups_is_not_pushed_from_itself() -> None:
    """Else the nearest object of another subgroup would be itself, and nothing would be pushed any more."""
    vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    ids = (torch.tensor([1, 1]), torch.tensor([2, 3]))
    loss = ContrastiveLoss(margin=0.8)
    relation = Relation.from_pairs(torch.ones(2), torch.tensor([5, 6]), ids)
    value = value_of(loss, vectors[[0, 2]], vectors[[1, 3]], relation)
    (gradient,) = torch.autograd.grad(value, vectors)
    assert gradient[0].any() and value < loss.margin**2 * 2


def test_subgroups_of_which_all_are_one_add_nothing() -> None:
    queries, documents = random_pairs()
    queries.requires_grad_()
    relation = Relation.from_pairs(SCORES, torch.full((6,), 4))
    value = value_of(ContrastiveLoss(), queries, documents, relation)
    value.backward()
    torch.testing.assert_close(value, value_of(ContrastiveLoss(), queries, documents, Relation.from_pairs(SCORES)))
    assert queries.grad is not None and queries.grad.isfinite().all()


def test_default_subgroups_cost_no_matrix() -> None:
    class Forbidden(type(ContrastiveLoss().scorer())):  # type: ignore[misc]
        def distances(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            raise AssertionError("all objects were compared with all")

    queries, documents = random_pairs()
    relation = Relation.from_pairs(SCORES, torch.zeros(6, dtype=torch.long))
    ContrastiveLoss().compute(Embeddings(queries), Embeddings(documents), relation, Forbidden())


def test_each_pair_keeps_its_own_score_where_two_judge_the_same_objects() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    ids = (torch.tensor([1, 1]), torch.tensor([2, 2]))
    relation = Relation.from_pairs(torch.tensor([1.0, 0.5]), ids=ids)
    loss = ContrastiveLoss(margin=2.0)
    value = value_of(loss, vectors[[0, 0]], vectors[[1, 1]], relation)
    assert value.item() == pytest.approx((0.5 * 1.0 + 0.5 * (0.5 + 0.5)) / 2)


@pytest.mark.parametrize("training", [True, False])
def test_scores_outside_the_unit_interval_are_refused(training: bool) -> None:
    check = ContrastiveLoss().relation_check(training)
    check(Relation.from_pairs(torch.tensor([0.0, 0.4, 1.0])))
    for wrong in (-0.1, 1.5, torch.nan):
        with pytest.raises(ValueError, match=r"takes scores in \[0, 1\], got .*rescale"):
            check(Relation.from_pairs(torch.tensor([1.0, wrong])))


def test_quaterions_call() -> None:
    loss, (queries, documents) = ContrastiveLoss(), random_pairs()
    rows, subgroups = torch.arange(6), torch.tensor([0.0, 1, 1, 2, 0, 2])  # floats, as Quaterion's collator gave them
    value = loss(torch.cat([queries, documents]), torch.stack([rows, rows + 6], 1), SCORES, subgroups.repeat(2))
    expected = value_of(loss, queries, documents, Relation.from_pairs(SCORES, subgroups.long()))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_must_be_positive(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be above 0"):
        ContrastiveLoss(margin=margin)


def test_learns_from_pairs_only() -> None:
    assert {kind.value for kind in ContrastiveLoss.relations} == {"pairs"}
