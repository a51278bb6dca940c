"""Pairs in order: values, ties, sizes that no matrix would fit."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.losses import AnglELoss, CoSENTLoss, LossResult
from simlearn.losses.cosent_loss import PairOrderLoss, pair_order
from simlearn.relations import Relation
from simlearn.training.data_checks import check_data


def random_pairs(size: int = 7, width: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(2, size, width, dtype=torch.float64, generator=generator)
    return vectors[0], vectors[1], torch.randint(5, (size,), generator=generator) / 4


def result_of(loss: PairOrderLoss, queries: Tensor, documents: Tensor, scores: Tensor) -> LossResult:
    return loss.compute(Embeddings(queries), Embeddings(documents), Relation.from_pairs(scores), loss.scorer())


def all_with_all(similarities: Tensor, scores: Tensor, scale: float) -> Tensor:
    """The B × B form of the definition."""
    gaps = scale * (similarities[None, :] - similarities[:, None])
    kept = gaps[scores[:, None] > scores[None, :]]
    return torch.logsumexp(torch.cat([kept.new_zeros(1), kept]), dim=0)


@pytest.mark.parametrize("scale", [0.5, 20.0, 1e4])
def test_sorting_gives_what_comparing_all_with_all_gives(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    for size in (1, 2, 3, 50):
        similarities = torch.randn(size, dtype=torch.float64, generator=generator, requires_grad=True)
        scores = torch.randint(4, (size,), generator=generator).float()
        value, expected = pair_order(similarities, scores, scale).total, all_with_all(similarities, scores, scale)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
        (gradient,) = torch.autograd.grad(value, similarities)
        (other,) = torch.autograd.grad(expected, similarities)
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["CoSENTLoss", "AnglELoss"])
def test_equal_to_sentence_transformers(name: str) -> None:
    theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    queries, documents, scores = random_pairs()
    ours = CoSENTLoss() if name == "CoSENTLoss" else AnglELoss()
    expected = getattr(theirs, name)(nn.Identity()).compute_loss_from_embeddings([queries, documents], scores)
    torch.testing.assert_close(result_of(ours, queries, documents, scores).value, expected)


def test_only_the_order_of_the_scores_counts() -> None:
    queries, documents, scores = random_pairs()
    value = result_of(CoSENTLoss(), queries, documents, scores).value
    assert value == result_of(CoSENTLoss(), queries, documents, 5 * scores - 3).value
    assert value != result_of(CoSENTLoss(), queries, documents, -scores).value


def test_pairs_of_equal_score_are_not_compared() -> None:
    similarities = torch.tensor([0.9, -0.9, 0.0, 0.3], dtype=torch.float64)
    value = pair_order(similarities, torch.tensor([0.5, 0.5, 0.5, 1.0]), 2.0).value
    assert value.item() == pytest.approx(math.log(1 + sum(math.exp(2 * (s - 0.3)) for s in (0.9, -0.9, 0.0))))


def test_scores_that_are_all_equal_add_a_counted_zero() -> None:
    queries, documents, _ = random_pairs()
    queries.requires_grad_()
    result = result_of(CoSENTLoss(), queries, documents, torch.full((7,), 0.5))
    result.value.backward()
    assert result.value == 0 and result.weight == 0 and result.counts["pairs_without_other_score"] == 7
    assert queries.grad is not None and not queries.grad.any()


def test_a_hundred_thousand_pairs_in_single_precision() -> None:
    generator = torch.Generator().manual_seed(2)
    similarities = torch.rand(100_000, generator=generator, requires_grad=True)
    scores = torch.randint(3, (100_000,), generator=generator).float()
    value = pair_order(similarities, scores, 20.0).value
    value.backward()
    with torch.no_grad():
        wide = 20.0 * similarities.double()
        sums = [torch.logsumexp(sign * wide[scores == s], 0) for s in (0, 1, 2) for sign in (1, -1)]
        pairs = torch.stack([torch.zeros_like(sums[0]), sums[0] + sums[3], sums[0] + sums[5], sums[2] + sums[5]])
    torch.testing.assert_close(value.double(), torch.logsumexp(pairs, 0), rtol=1e-6, atol=0)
    assert similarities.grad is not None and abs(similarities.grad.sum()) < 1e-3


def test_it_learns_the_order_of_the_pairs() -> None:
    queries, documents, _ = random_pairs()
    scores = torch.linspace(0.1, 0.9, 7)
    queries.requires_grad_()
    optimizer = torch.optim.Adam([queries], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        result_of(CoSENTLoss(), queries, documents, scores).value.backward()
        optimizer.step()
    similarities = torch.cosine_similarity(queries, documents)
    assert torch.equal(similarities.argsort(), torch.arange(7))


def test_graded_data_without_negatives_is_welcome() -> None:
    from simlearn import PairsSimilarityDataLoader, SimilarityPairSample

    samples = [SimilarityPairSample(f"a{i}", f"b{i}", score=0.2 + i / 10) for i in range(4)]
    loader = PairsSimilarityDataLoader(samples, batch_size=2)
    check_data(loader, CoSENTLoss())
    check_data(loader, AnglELoss())


@pytest.mark.parametrize("kind", [CoSENTLoss, AnglELoss])
def test_scores_must_be_finite(kind: type[PairOrderLoss]) -> None:
    check = pickle.loads(pickle.dumps(kind().relation_check()))
    check(Relation.from_pairs(torch.tensor([-3.0, 5.0])))
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match=rf"{kind.__name__} takes finite scores, got (nan|inf); drop or mend"):
            check(Relation.from_pairs(torch.tensor([1.0, wrong])))


@pytest.mark.parametrize("kind", [CoSENTLoss, AnglELoss])
@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_must_be_positive(kind: type[PairOrderLoss], scale: float) -> None:
    with pytest.raises(ValueError, match="scale is 1 / temperature and must be above 0"):
        kind(scale)
