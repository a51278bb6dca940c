"""In-batch softmax: golden values, other libraries' values, and who is a negative of whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses import MultipleNegativesRankingLoss
from simlearn.relations import Relation
from simlearn.scoring import CosineScorer

QUERIES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
DOCUMENTS = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 5.0]])


def value_of(loss: MultipleNegativesRankingLoss, queries: Tensor, documents: Tensor, relation: Relation) -> Tensor:
    return loss.compute(Embeddings(queries), Embeddings(documents), relation, loss.scorer()).value


def pairs(size: int, **options: object) -> Relation:
    return Relation.from_pairs(torch.ones(size), **options)  # type: ignore[arg-type]


def random_pairs(size: int = 8) -> tuple[Tensor, Tensor]:
    whole = torch.randn(2, size, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return whole[0], whole[1]


def test_golden_value_of_qdrl() -> None:
    """qdrl's batch softmax with a temperature of 0.1."""
    value = value_of(MultipleNegativesRankingLoss(scale=10.0), QUERIES, DOCUMENTS, pairs(3))
    assert value.item() == pytest.approx(2.0212231, abs=5e-7)


@pytest.mark.parametrize("symmetric", [False, True])
def test_equal_to_sentence_transformers(symmetric: bool) -> None:
    """Cross-entropy over 20 × cosine, the mean of both directions where it is symmetric."""
    queries, documents = random_pairs()
    scores = 20 * F.cosine_similarity(queries[:, None], documents[None], dim=2)
    expected = F.cross_entropy(scores, torch.arange(8))
    if symmetric:
        expected = (expected + F.cross_entropy(scores.T, torch.arange(8))) / 2
    value = value_of(MultipleNegativesRankingLoss(symmetric=symmetric), queries, documents, pairs(8))
    torch.testing.assert_close(value, expected)


def test_equal_to_quaterion_at_half_its_scale() -> None:
    """Quaterion's cosine similarity was (cos + 1) / 2, so its scale of 20 is 10 in everyone else's units."""
    queries, documents = random_pairs()
    scores = 20 * (F.cosine_similarity(queries[:, None], documents[None], dim=2) + 1) / 2
    value = value_of(MultipleNegativesRankingLoss(scale=10.0), queries, documents, pairs(8))
    torch.testing.assert_close(value, F.cross_entropy(scores, torch.arange(8)))


def test_equal_to_nt_xent_of_pytorch_metric_learning() -> None:
    """Over groups of equal size; theirs is the mean over pairs, which then is the mean over anchors."""
    from pytorch_metric_learning.losses import NTXentLoss

    groups = torch.arange(12) % 3
    embeddings = torch.randn(12, 6, dtype=torch.float64)
    same = Embeddings(embeddings)
    value = MultipleNegativesRankingLoss(scale=10.0).compute(same, same, Relation.from_groups(groups), CosineScorer())
    torch.testing.assert_close(value.value, NTXentLoss(temperature=0.1)(embeddings, groups))


def softmax_over(columns: list[list[int]], scores: Tensor) -> Tensor:
    """The mean over rows of the cross-entropy of the first named column against the others."""
    terms = [
        F.cross_entropy(scores[row : row + 1, chosen], torch.tensor([0]))
        for row, chosen in enumerate(columns)
        if chosen
    ]
    return torch.stack(terms).mean()


SCORES = 20 * F.cosine_similarity(QUERIES[:, None], DOCUMENTS[None], dim=2)


def test_rows_of_one_subgroup_are_no_negatives() -> None:
    relation = pairs(3, subgroups=torch.tensor([7, 7, 0]))
    expected = softmax_over([[0, 2], [1, 2], [2, 0, 1]], SCORES)
    torch.testing.assert_close(value_of(MultipleNegativesRankingLoss(), QUERIES, DOCUMENTS, relation), expected)


def test_the_default_subgroup_says_nothing() -> None:
    relation = pairs(3, subgroups=torch.zeros(3, dtype=torch.long))
    expected = softmax_over([[0, 1, 2], [1, 0, 2], [2, 0, 1]], SCORES)
    torch.testing.assert_close(value_of(MultipleNegativesRankingLoss(), QUERIES, DOCUMENTS, relation), expected)


def test_the_same_document_twice_is_no_negative_of_itself() -> None:
    documents = DOCUMENTS[[0, 0, 2]]
    relation = pairs(3, ids=(torch.tensor([1, 2, 3]), torch.tensor([4, 4, 5])))
    scores = 20 * F.cosine_similarity(QUERIES[:, None], documents[None], dim=2)
    expected = softmax_over([[0, 2], [1, 2], [2, 0, 1]], scores)
    torch.testing.assert_close(value_of(MultipleNegativesRankingLoss(), QUERIES, documents, relation), expected)


def test_the_query_itself_is_no_negative() -> None:
    """Document 2 is query 0, as when a sentence is paired with its translation in both directions."""
    relation = pairs(3, ids=(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 1])))
    expected = softmax_over([[0, 1], [1, 0, 2], [2, 0, 1]], SCORES)
    torch.testing.assert_close(value_of(MultipleNegativesRankingLoss(), QUERIES, DOCUMENTS, relation), expected)


def test_a_score_of_zero_is_an_explicit_negative_and_no_anchor() -> None:
    relation = Relation.from_pairs(torch.tensor([1.0, 0.0, -1.0]), subgroups=torch.tensor([7, 7, 7]))
    queries, documents = Embeddings(QUERIES), Embeddings(DOCUMENTS)
    result = MultipleNegativesRankingLoss().compute(queries, documents, relation, CosineScorer())
    value, counts = result.value, result.counts
    assert value == 0 and {name: int(n) for name, n in counts.items()} == {
        "anchors_without_positive": 2,
        "anchors_without_negative": 1,
    }


def test_an_explicit_negative_is_one_in_its_own_subgroup_too() -> None:
    """Queries 0 and 1 are one object, once with its positive and once with its negative."""
    ids = (torch.tensor([1, 1, 3]), torch.tensor([4, 5, 6]))
    relation = Relation.from_pairs(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([7, 7, 7]), ids)
    value = value_of(MultipleNegativesRankingLoss(), QUERIES[[0, 0, 2]], DOCUMENTS, relation)
    torch.testing.assert_close(value, 2 * softmax_over([[0, 1]], SCORES) / 3)


def test_a_ranking_takes_the_candidates_of_others_as_negatives() -> None:
    relation = Relation.from_ranking(torch.tensor([0, 2, 3]), torch.tensor([2.0, 0.0, 1.0]))
    expected = softmax_over([[0, 1, 2], [2, 0, 1]], SCORES)
    value = value_of(MultipleNegativesRankingLoss(), QUERIES[:2], DOCUMENTS, relation)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("training", [True, False])
def test_graded_scores_are_refused_with_a_way_out(training: bool) -> None:
    check = MultipleNegativesRankingLoss().relation_check(training)
    check(Relation.from_pairs(torch.tensor([1.0, 0.0, -1.0, 3.0])))
    check(Relation.from_ranking(torch.tensor([0, 2]), torch.tensor([0.3, 0.5])))
    with pytest.raises(ValueError, match=r"got the score 0\.3: .* ContrastiveLoss learns from graded scores"):
        check(Relation.from_pairs(torch.tensor([1.0, 0.3])))
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="finite scores"):
            check(Relation.from_pairs(torch.tensor([1.0, wrong])))


def test_quaterions_call() -> None:
    loss, (queries, documents) = MultipleNegativesRankingLoss(), random_pairs()
    rows = torch.arange(8)
    arguments = torch.cat([queries, documents]), torch.stack([rows, rows + 8], 1), torch.ones(8), torch.zeros(16)
    torch.testing.assert_close(loss(*arguments), value_of(loss, queries, documents, pairs(8)))
    with pytest.raises(ValueError, match=r"got the score 0\.5"):
        loss(*arguments[:2], torch.full((8,), 0.5), torch.zeros(16))


def test_pairs_that_share_a_row_share_an_object() -> None:
    """Row 0 is paired with 1 and with 2, so that neither of these is its negative."""
    loss, embeddings = MultipleNegativesRankingLoss(), random_pairs(4)[0]
    pairs_of_rows = torch.tensor([[0, 1], [0, 2], [3, 1]])
    value = loss(embeddings, pairs_of_rows, torch.ones(3), torch.zeros(4))
    ids = (pairs_of_rows[:, 0], pairs_of_rows[:, 1])
    expected = value_of(loss, embeddings[ids[0]], embeddings[ids[1]], pairs(3, ids=ids))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale is 1 / temperature and must be above 0"):
        MultipleNegativesRankingLoss(scale)


def test_the_distance_is_told_only_where_it_was_given() -> None:
    assert MultipleNegativesRankingLoss().get_config_dict() == {"scale": 20.0, "symmetric": False, "log_q": False}
    loss = MultipleNegativesRankingLoss(distance_metric_name="dot_product")
    assert loss.get_config_dict()["distance_metric_name"] == "dot_product" and loss.distance is Distance.DOT_PRODUCT
