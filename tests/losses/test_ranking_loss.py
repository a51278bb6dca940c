"""What holds for all losses over rankings."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.losses import (
    KLDistillationLoss,
    ListwiseSoftmaxLoss,
    LossResult,
    MarginMSELoss,
    PairwiseMarginRankingLoss,
)
from simlearn.losses.ranking_loss import Candidates, RankingLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer
from simlearn.training.data_checks import check_data

LOSSES: list[Callable[[], RankingLoss]] = [
    KLDistillationLoss,
    ListwiseSoftmaxLoss,
    lambda: MarginMSELoss(distance_metric_name=None),
    lambda: MarginMSELoss("all"),
    PairwiseMarginRankingLoss,
    lambda: PairwiseMarginRankingLoss(None),
]
each_loss = pytest.mark.parametrize("make", LOSSES, ids=lambda make: type(make()).__name__)


def ranking(relevances: Sequence[Sequence[float]], ids: tuple[Tensor, Tensor] | None = None) -> Relation:
    offsets = torch.tensor([0, *(len(row) for row in relevances)]).cumsum(0)
    return Relation.from_ranking(offsets, torch.tensor([value for row in relevances for value in row]), ids)


def embeddings_for(relation: Relation, seed: int = 0) -> tuple[Embeddings, Embeddings]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (relation.n_queries, relation.n_documents)
    queries, documents = (torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in sizes)
    return Embeddings(queries.requires_grad_()), Embeddings(documents.requires_grad_())


def result_of(loss: RankingLoss, relation: Relation, seed: int = 0) -> LossResult:
    return loss.compute(*embeddings_for(relation, seed), relation, loss.scorer())


@each_loss
def test_queries_without_a_choice_add_zeros_and_are_counted(make: Callable[[], RankingLoss]) -> None:
    loss, relation = make(), ranking([[], [2.0], [0.0, 1.0], []])
    queries, documents = embeddings_for(relation)
    result = loss.compute(queries, documents, relation, loss.scorer())
    result.value.backward()
    assert result.weight == 1 and result.counts["queries_without_choice"] == 3
    assert queries.values.grad is not None and queries.values.grad.isfinite().all()
    assert queries.values.grad.any(1).tolist() == [False, False, True, False]
    alone = loss.compute(queries.take(slice(2, 3)), documents.take(slice(1, 3)), ranking([[0.0, 1.0]]), loss.scorer())
    torch.testing.assert_close(result.value, alone.value)


@each_loss
def test_only_a_querys_own_candidates_count(make: Callable[[], RankingLoss]) -> None:
    """Documents of other queries are no candidates, and neither are those of the same query in another sample."""
    loss, rows = make(), [[1.0, 0.0, 2.0], [0.0, 1.0]]
    plain = result_of(loss, ranking(rows))
    twins = result_of(loss, ranking(rows, (torch.tensor([1, 1]), torch.tensor([5, 6, 7, 5, 6]))))
    assert plain.value == twins.value > 0


@each_loss
def test_objects_of_many_vectors(make: Callable[[], RankingLoss]) -> None:
    class MaxSim(Scorer):
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return torch.einsum("ntd,mud->nmtu", queries.values, documents.values).amax(3).mean(2)

    loss, relation = make(), ranking([[1.0, 0.0, 2.0], [0.0, 1.0]])
    queries, documents = embeddings_for(relation)
    first, second = (Embeddings(e.values.view(-1, 2, 2)) for e in (queries, documents))
    value = loss.compute(first, second, relation, MaxSim()).value
    assert value > 0 and value.isfinite()
    value.backward()
    assert queries.values.grad is not None and queries.values.grad.any(1).all()


@each_loss
def test_memory_grows_with_the_candidates_and_not_with_queries_times_documents(
    make: Callable[[], RankingLoss],
) -> None:
    class PairedOnly(type(make().scorer())):  # type: ignore[misc]
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            raise AssertionError("all queries were compared with all documents")

    loss, relation = make(), ranking([[1.0, 0.0, 2.0], [0.0, 1.0]])
    assert loss.compute(*embeddings_for(relation), relation, PairedOnly(*([loss.distance] * bool(loss.distance)))).value


@each_loss
def test_huge_relevances_overflow_nothing(make: Callable[[], RankingLoss]) -> None:
    loss, relation = make(), ranking([[3e38, 0.0, 3e38], [3e38, 1e-40]])
    if isinstance(loss, MarginMSELoss):
        relation = ranking([[1e18, 0.0], [1e15, 1e14]])
    queries, documents = embeddings_for(relation)
    value = loss.compute(
        Embeddings(queries.values.float()), Embeddings(documents.values.float()), relation, loss.scorer()
    ).value
    value.backward()
    assert value.isfinite()
    assert queries.values.grad is not None and queries.values.grad.isfinite().all()


def test_kl_of_teachers_as_far_apart_as_can_be() -> None:
    relation = ranking([[3e38, -3e38, 0.0]])
    queries, documents = (Embeddings(e.values.float()) for e in embeddings_for(relation))
    loss = KLDistillationLoss()
    assert loss.compute(queries, documents, relation, loss.scorer()).value.isfinite()


@each_loss
def test_it_learns_the_order(make: Callable[[], RankingLoss]) -> None:
    loss, relation = make(), ranking([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    queries, documents = embeddings_for(relation)
    optimizer = torch.optim.Adam([queries.values, documents.values], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        result = loss.compute(queries, documents, relation, loss.scorer())
        result.value.backward()
        optimizer.step()
    scores = loss.scorer().paired(queries.take(torch.tensor([0, 0, 0, 1, 1, 1])), documents).view(2, 3)
    if isinstance(loss, ListwiseSoftmaxLoss):  # its third candidate is to have no share at all
        assert scores.argmax(1).tolist() == [0, 1] and scores.argmin(1).tolist() == [2, 0]
    else:
        assert scores.argsort(1, descending=True).tolist() == [[0, 1, 2], [1, 2, 0]]


@each_loss
def test_rankings_without_a_negative_are_welcome(make: Callable[[], RankingLoss]) -> None:
    from simlearn import RankingSimilarityDataLoader, SimilarityRankingSample

    samples = [SimilarityRankingSample(f"q{i}", [f"a{i}", f"b{i}"], [0.7, 0.2]) for i in range(4)]
    check_data(RankingSimilarityDataLoader(samples, batch_size=1), make())


@each_loss
def test_relevances_must_be_finite(make: Callable[[], RankingLoss]) -> None:
    check = pickle.loads(pickle.dumps(make().relation_check()))
    check(ranking([[1.0, 0.0], []]))
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match=r"Loss takes finite relevances, got (nan|inf); drop or mend"):
            check(ranking([[1.0, wrong]]))
    with pytest.raises(ValueError, match="takes rankings, got pairs"):
        check(Relation.from_pairs(torch.ones(2)))


@each_loss
def test_other_relations_are_refused(make: Callable[[], RankingLoss]) -> None:
    loss, two = make(), Embeddings(torch.randn(2, 4))
    with pytest.raises(TypeError, match="takes rankings with their candidates, got groups"):
        loss.compute(two, two, Relation.from_groups(torch.tensor([0, 1])), loss.scorer())


WRONG: list[tuple[type[RankingLoss], dict[str, Any]]] = [
    (ListwiseSoftmaxLoss, {"scale": 0.0}),
    (KLDistillationLoss, {"scale": -1.0}),
    (KLDistillationLoss, {"temperature": 0.0}),
    (MarginMSELoss, {"scale": float("nan")}),
    (MarginMSELoss, {"margins": "some"}),
    (PairwiseMarginRankingLoss, {"scale": 0.0}),
    (PairwiseMarginRankingLoss, {"margin": 0.0}),
]


@pytest.mark.parametrize(("kind", "arguments"), WRONG, ids=str)
def test_wrong_arguments_are_refused(kind: type[RankingLoss], arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(arguments))} .*must be (above 0|one of)"):
        kind(**arguments)


def test_a_loss_must_define_rank() -> None:
    with pytest.raises(NotImplementedError, match="RankingLoss must define rank"):
        result_of(RankingLoss(), ranking([[1.0]]))


def test_sums_and_softmax_of_ragged_lists() -> None:
    offsets, owners = torch.tensor([0, 0, 3, 3, 5]), torch.tensor([1, 1, 1, 3, 3])
    scores = torch.tensor([1.0, 5.0, -3.0, 1e9, 1e9])
    candidates = Candidates(scores, scores, owners, offsets)
    assert candidates.counts.tolist() == [0, 3, 0, 2]
    assert candidates.sum(torch.ones(5)).tolist() == [0, 3, 0, 2]
    expected = torch.cat([scores[:3].log_softmax(0), scores[3:].log_softmax(0)])
    torch.testing.assert_close(candidates.log_softmax(scores), expected)
