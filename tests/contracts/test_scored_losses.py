"""What every loss that takes a scorer must keep to where queries and documents are not scored alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import loss_oracles
import pytest
import torch
from asymmetric_scorers import MANY_BY_MANY, SIZE, Attended, Bilinear, LateInteraction, MaxSim, Prepared, plainly
from facts import Facts, joined
from loss_family_comparisons import DETACHED
from processes import run_on_two
from torch import Tensor
from torch.nn import functional as F

from simlearn.distributed import all_reduce_sum, world_size
from simlearn.embeddings import Embeddings
from simlearn.losses import (
    AnglELoss,
    CentroidTripletLoss,
    ClassLoss,
    ContrastiveLoss,
    FastAPLoss,
    InfoNCELoss,
    LossResult,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    PytorchMetricLearningWrapper,
    SimilarityLoss,
    SumLoss,
    TripletLoss,
)
from simlearn.losses.global_loss import gather_batch
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer
from tests.contracts.test_losses import CASES, batch, made, name_of


def compares(make: Callable[[], SimilarityLoss], kind: RelationKind, scorer: type[Scorer]) -> bool:
    """Whether a loss asks the scorer, and can be asked with its embeddings."""
    loss = make()
    if isinstance(loss, (ClassLoss, AnglELoss, PytorchMetricLearningWrapper)):
        return False
    # A histogram takes distances from 0 on.
    if isinstance(loss, FastAPLoss) and scorer not in (MaxSim, Prepared):
        return False
    if scorer is Attended and kind in (RelationKind.GROUPS, RelationKind.LABELS):  # where queries are documents
        return False
    if scorer is Attended and any(isinstance(part, ContrastiveLoss) for part in loss.modules()):
        return False  # in one space it compares documents with documents
    if scorer in (*MANY_BY_MANY, Attended):  # their oracles cut and average single vectors
        return not isinstance(loss, (MatryoshkaLoss, CentroidTripletLoss)) and not class_parts(loss)
    return True


def class_parts(loss: SimilarityLoss) -> bool:
    return any(isinstance(part, ClassLoss) for part in loss.modules())


SCORERS: list[type[Scorer]] = [MaxSim, LateInteraction, Attended, Bilinear, Prepared]
ASKED = [(make, kind, scorer) for make, kind in CASES for scorer in SCORERS if compares(make, kind, scorer)]
DIFFERENTIABLE = [case for case in ASKED if not isinstance(case[0](), DETACHED)]


def name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else name_of(value)


def asked(make: Callable[[], SimilarityLoss], scorer: type[Scorer]) -> tuple[SimilarityLoss, Scorer]:
    """A loss that names no distance, which would contradict the scorer."""
    loss = made(make)
    for part in loss.modules():
        if isinstance(part, SimilarityLoss):
            part.distance = None
    return loss, scorer().double()


def objects(
    scorer: Scorer, loss: SimilarityLoss, kind: RelationKind, seed: int, size: int
) -> tuple[Facts, Embeddings, Embeddings]:
    """Facts with their queries and documents, the same object where these are shared; hidden values are large."""
    facts, queries, documents = batch(loss, kind, seed, size)

    def embedded(vectors: Tensor, length: int) -> Embeddings:
        if isinstance(scorer, Bilinear):
            return Embeddings(0.25 * vectors)
        generator = torch.Generator().manual_seed(seed + length)
        values = 0.25 * torch.randn(len(vectors), length, SIZE, generator=generator, dtype=torch.float64)
        own = torch.randint(1, length + 1, (len(vectors), 1), generator=generator)
        mask = torch.arange(length) < own
        return Embeddings(values.masked_fill(~mask[..., None], 1e3), mask)

    first = embedded(queries, 3)
    if isinstance(scorer, Attended):
        return facts, first, Embeddings(0.25 * documents)
    return facts, first, first if documents is queries else embedded(documents, 4)


def lists(embeddings: Embeddings) -> list[Any]:
    if not embeddings.is_multi_vector:
        return list(embeddings.values.tolist())
    return [own[mask].tolist() for own, mask in zip(embeddings.values, embeddings.full_mask(), strict=True)]


def expected(loss: SimilarityLoss, scorer: Scorer, facts: Facts, queries: Embeddings, documents: Embeddings) -> float:
    with loss_oracles.compared_by(*plainly(scorer)):
        return loss_oracles.ORACLES[type(loss)](loss, facts, lists(queries), lists(documents))


def value_of(
    loss: SimilarityLoss, scorer: Scorer, relation: Relation, queries: Embeddings, documents: Embeddings
) -> Tensor:
    result = loss.compute(queries, documents, relation, scorer)
    return result.value if isinstance(result, LossResult) else result


@pytest.mark.parametrize(("make", "kind", "of"), ASKED, ids=name)
def test_queries_ask_and_documents_answer(
    make: Callable[[], SimilarityLoss], kind: RelationKind, of: type[Scorer]
) -> None:
    """Every loss is that of plain loops, whatever its tiles."""
    for tile_bytes in (SimilarityLoss.tile_bytes, 1):
        loss, scorer = asked(make, of)
        loss.tile_bytes = tile_bytes
        for seed in range(3):
            for size in (1, 7):
                facts, queries, documents = objects(scorer, loss, kind, seed, size)
                value = value_of(loss, scorer, facts.relation(), queries, documents)
                assert value.item() == pytest.approx(
                    expected(loss, scorer, facts, queries, documents), rel=1e-9, abs=1e-12
                )


@pytest.mark.parametrize(("make", "kind", "of"), DIFFERENTIABLE, ids=name)
def test_gradients_are_those_of_plain_loops(
    make: Callable[[], SimilarityLoss], kind: RelationKind, of: type[Scorer]
) -> None:
    """Of both sides and of the scorer's own parameters, each in a random direction."""
    loss, scorer = asked(make, of)
    facts, queries, documents = objects(scorer, loss, kind, 2, 6)
    leaves = [queries.values.requires_grad_(), *scorer.parameters()]
    leaves += [] if facts.shared else [documents.values.requires_grad_()]
    value = value_of(loss, scorer, facts.relation(), queries, documents)
    gradients = torch.autograd.grad(value, leaves, materialize_grads=True)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
        found, step = [], 1e-6
        for sign in (1, -1):
            with torch.no_grad():
                leaf.add_(direction, alpha=sign * step)
                found.append(expected(loss, scorer, facts, queries, documents))
                leaf.sub_(direction, alpha=sign * step)
        slope = (found[0] - found[1]) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def gradients_of_gathered(
    loss: SimilarityLoss, scorer: Scorer, facts: Facts, queries: Embeddings, documents: Embeddings, weight: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The loss of the global batch, and the gradients of a model, the loss and the scorer, averaged as DDP does."""
    weight.requires_grad_()
    first = Embeddings(queries.values @ weight, queries.mask)
    second = first if facts.shared else Embeddings(documents.values @ weight, documents.mask)
    gathered = gather_batch(first, second, facts.relation())
    value = value_of(loss, scorer, gathered[2], gathered[0], gathered[1])
    parameters = [weight, *loss.parameters(), *scorer.parameters()]
    gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
    return value.detach(), [all_reduce_sum(gradient) / world_size() for gradient in gradients]


@pytest.mark.parametrize(("make", "kind", "of"), ASKED, ids=name)
def test_two_processes_equal_one(make: Callable[[], SimilarityLoss], kind: RelationKind, of: type[Scorer]) -> None:
    loss, scorer = asked(make, of)
    parts = [objects(scorer, loss, kind, seed, size) for seed, size in enumerate((5, 3))]
    weight = torch.eye(SIZE, dtype=torch.float64)
    queries = Embeddings.concatenate([part[1] for part in parts])
    documents = queries if parts[0][0].shared else Embeddings.concatenate([part[2] for part in parts])
    whole = joined([facts for facts, _, _ in parts])
    alone = gradients_of_gathered(loss, scorer, whole, queries, documents, weight.clone())
    for value, gradients in run_on_two(gradients_of_gathered, *[(loss, scorer, *part, weight) for part in parts]):
        torch.testing.assert_close(value, alone[0], rtol=1e-9, atol=1e-12)
        for gradient, other in zip(gradients, alone[1], strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", [MultipleNegativesRankingLoss(1.0, symmetric=True), InfoNCELoss(1.0)], ids=repr)
def test_a_symmetric_loss_asks_both_ways(loss: SimilarityLoss) -> None:
    """It scored documents as queries: 5.0016."""
    torch.manual_seed(0)
    queries, documents = Embeddings(torch.randn(8, 3, 4)), Embeddings(torch.randn(8, 9, 4))
    scores, own = MaxSim()(queries, documents), torch.arange(8)
    both = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    value = value_of(loss, MaxSim(), Relation.from_pairs(torch.ones(8)), queries, documents)
    torch.testing.assert_close(value, both)
    assert value.item() == pytest.approx(4.0584, abs=5e-5)


def test_budgets_reach_the_parts() -> None:
    inner, triplet = MultipleNegativesRankingLoss(), TripletLoss()
    loss = MatryoshkaLoss(SumLoss([inner, SumLoss([triplet])]), [2, 4])
    assert loss.tile_bytes == SimilarityLoss.tile_bytes
    triplet.tile_bytes = 2**30
    assert loss.tile_bytes == 2**30
    loss.tile_bytes = 1
    assert inner.tile_bytes == triplet.tile_bytes == loss.tile_bytes == 1

    class Heights(Bilinear):
        def __init__(self) -> None:
            super().__init__()
            self.heights = set[int]()

        def tile(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            self.heights.add(len(queries))
            return super().tile(queries, documents)

    scorer, objects_ = Heights(), Embeddings(torch.randn(6, 4))
    loss.compute(objects_, objects_, Relation.from_groups(torch.arange(6) // 2), scorer)
    assert scorer.heights == {1}
