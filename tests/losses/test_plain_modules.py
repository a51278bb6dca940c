"""Every loss, called on tensors in every form: what it takes is what `compute` says, and what it refuses it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from processes import run_on_two
from torch import Tensor

from simlearn import losses
from simlearn.embeddings import Embeddings
from simlearn.losses import (
    ArcFaceLoss,
    CircleLoss,
    ClassLoss,
    ContrastiveLoss,
    CoSENTLoss,
    GroupLoss,
    InfoNCELoss,
    KLDistillationLoss,
    LossResult,
    MaskLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    PairwiseLoss,
    PytorchMetricLearningWrapper,
    SimilarityLoss,
    SoftmaxLoss,
    SumLoss,
    TripletLoss,
)
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer

SIZE, N, K = 6, 8, 3
CLASSES = (0, 1, 2, 3)
# Losses that no call without arguments builds; those over other losses hold one that takes every kind of samples.
ARGUMENTS: dict[type[SimilarityLoss], dict[str, Any]] = {
    MatryoshkaLoss: {"loss": TripletLoss(), "dims": [4, SIZE]},
    PytorchMetricLearningWrapper: {"loss": "MultiSimilarityLoss"},
    SumLoss: {"losses": [TripletLoss(), MultipleNegativesRankingLoss()]},
}
BASES = (ClassLoss, GroupLoss, MaskLoss, PairwiseLoss, SimilarityLoss)
PUBLIC = [getattr(losses, name) for name in losses.__all__]
LOSSES = [kind for kind in PUBLIC if isinstance(kind, type) and issubclass(kind, SimilarityLoss) and kind not in BASES]


def made(kind: type[SimilarityLoss]) -> SimilarityLoss:
    torch.manual_seed(0)
    arguments = ARGUMENTS.get(kind, {})
    if issubclass(kind, ClassLoss):
        arguments = {"embedding_size": SIZE, "num_groups": len(CLASSES), "classes": CLASSES}
    return kind(**arguments)


def vectors(size: int, seed: int) -> Tensor:
    values = torch.randn(size, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return values.requires_grad_()


QUERIES, DOCUMENTS, CANDIDATES, OTHERS = vectors(N, 1), vectors(N, 2), vectors(N * K, 3), vectors(5, 4)
GROUPS = torch.arange(N) % 4
SCORES = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
RELEVANCES = torch.randint(0, 3, (N, K), generator=torch.Generator().manual_seed(5)).float()
MATRIX = torch.where(torch.rand(N, 5, generator=torch.Generator().manual_seed(6)) < 0.3, torch.nan, 1.0)
MATRIX[torch.rand(N, 5, generator=torch.Generator().manual_seed(7)) < 0.5] = 0.0
LISTS = [[number % 4, (number + 1) % 4, number % 4] if number % 3 else [number % 4] for number in range(N)]
MULTI_HOT = torch.stack([torch.tensor([one in own for one in CLASSES]) for own in LISTS])
PAIRS = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7], [1, 2], [7, 0]])
SUBGROUPS = torch.tensor([0, 1, 1, 2, 0, 2, 3, 3])


def offsets_of(lists: list[list[int]]) -> Tensor:
    return torch.tensor([0, *(len(set(own)) for own in lists)]).cumsum(0)


PAIRED = Relation.from_pairs(torch.ones(N))
JUDGED = Relation.from_pairs(SCORES)
GROUPED = Relation.from_groups(GROUPS)
LABELLED = Relation.from_labels(offsets_of(LISTS), torch.tensor([one for own in LISTS for one in sorted(set(own))]))
RANKED = Relation.from_ranking(K * torch.arange(N + 1), RELEVANCES.flatten())
SPARSE = Relation.from_matrix(MATRIX)
ROWS = Relation.from_pairs(SCORES[:6], (SUBGROUPS[PAIRS[:, 0]], SUBGROUPS[PAIRS[:, 1]]), (PAIRS[:, 0], PAIRS[:, 1]))


@dataclass(frozen=True)
class Form:
    """A call, and the comparison that it means."""

    relation: Relation
    arguments: tuple[Any, ...]
    names: dict[str, Any] = field(default_factory=dict)
    documents: Tensor | None = None
    rows: bool = False

    def compared(self) -> tuple[Embeddings, Embeddings, Relation]:
        if self.rows:
            return Embeddings(QUERIES[PAIRS[:, 0]]), Embeddings(QUERIES[PAIRS[:, 1]]), self.relation
        queries = Embeddings(QUERIES)
        return queries, queries if self.documents is None else Embeddings(self.documents), self.relation


FORMS = {
    "rows": Form(PAIRED, (QUERIES, DOCUMENTS), documents=DOCUMENTS),
    "scored pairs": Form(JUDGED, (QUERIES, DOCUMENTS), {"scores": SCORES}, DOCUMENTS),
    "embeddings": Form(JUDGED, (Embeddings(QUERIES), Embeddings(DOCUMENTS)), {"scores": SCORES.bool()}, DOCUMENTS),
    "relation of pairs": Form(JUDGED, (QUERIES, DOCUMENTS), {"relation": JUDGED}, DOCUMENTS),
    "candidates": Form(RANKED, (QUERIES, CANDIDATES), {"scores": RELEVANCES}, CANDIDATES),
    "relation of candidates": Form(RANKED, (QUERIES, CANDIDATES), {"relation": RANKED}, CANDIDATES),
    "matrix": Form(SPARSE, (QUERIES, OTHERS), {"scores": MATRIX}, OTHERS),
    "relation of a matrix": Form(SPARSE, (QUERIES, OTHERS), {"relation": SPARSE}, OTHERS),
    "groups": Form(GROUPED, (QUERIES,), {"groups": GROUPS}),
    "groups by place": Form(GROUPED, (QUERIES, GROUPS.int())),
    "groups as Quaterion": Form(GROUPED, (), {"embeddings": QUERIES, "groups": GROUPS}),
    "relation of groups": Form(GROUPED, (Embeddings(QUERIES),), {"relation": GROUPED}),
    "lists of labels": Form(LABELLED, (QUERIES,), {"labels": LISTS}),
    "multi-hot": Form(LABELLED, (QUERIES,), {"labels": MULTI_HOT}),
    "multi-hot of floats": Form(LABELLED, (QUERIES,), {"labels": MULTI_HOT.float()}),
    "relation of labels": Form(LABELLED, (QUERIES,), {"relation": LABELLED}),
    "pairs": Form(ROWS, (QUERIES, PAIRS, SCORES[:6], SUBGROUPS), rows=True),
    "pairs as Quaterion": Form(
        ROWS,
        (),
        {"embeddings": QUERIES, "pairs": PAIRS, "labels": SCORES[:6], "subgroups": SUBGROUPS},
        rows=True,
    ),
}


def takes(loss: SimilarityLoss, name: str) -> bool:
    learns = loss.takes_batch_as_negatives or name != "rows"
    return FORMS[name].relation.kind in loss.relations and learns


def value_of(result: LossResult | Tensor) -> Tensor:
    return result.value if isinstance(result, LossResult) else result


def gradients(value: Tensor, loss: SimilarityLoss) -> list[Tensor]:
    leaves = [QUERIES, DOCUMENTS, CANDIDATES, OTHERS, *loss.parameters()]
    return [gradient.to_dense() for gradient in torch.autograd.grad(value, leaves, materialize_grads=True)]


TAKEN = [(kind, name) for kind in LOSSES for name in FORMS if takes(made(kind), name)]
REFUSED = [(kind, name) for kind in LOSSES for name in FORMS if not takes(made(kind), name)]


def spelled(value: Any) -> str:
    return value if isinstance(value, str) else value.__name__


def test_there_are_losses_and_each_takes_and_refuses_something() -> None:
    assert len(LOSSES) >= 20
    assert {kind for kind, _ in TAKEN} == set(LOSSES)
    assert {name for _, name in TAKEN} == set(FORMS) == {name for _, name in REFUSED}


@pytest.mark.parametrize(("kind", "name"), TAKEN, ids=spelled)
def test_a_call_is_compute_over_the_same_relation(kind: type[SimilarityLoss], name: str) -> None:
    loss, form = made(kind), FORMS[name]
    value = loss(*form.arguments, **form.names)
    expected = value_of(loss.compute(*form.compared(), loss.scorer()))
    assert value.shape == () and torch.equal(value, expected)
    found = gradients(value, loss)
    assert any(gradient.any() for gradient in found)
    for ours, other in zip(found, gradients(expected, loss), strict=True):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize(("kind", "name"), REFUSED, ids=spelled)
def test_what_a_loss_does_not_learn_from_is_refused(kind: type[SimilarityLoss], name: str) -> None:
    loss, form = made(kind), FORMS[name]
    with pytest.raises(TypeError, match=rf"^{kind.__name__} .*(Call it as loss\(|pass scores=)"):
        loss(*form.arguments, **form.names)


@pytest.mark.parametrize(("kind", "name"), TAKEN, ids=spelled)
def test_autocast_changes_nothing(kind: type[SimilarityLoss], name: str) -> None:
    """A loss computes in the dtype of what it is given, at least fp32."""
    loss, form = made(kind), FORMS[name]
    expected = loss(*form.arguments, **form.names)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(*form.arguments, **form.names), expected)


X, Y, Z = torch.randn(3, 4), torch.randn(3, 4), torch.randn(5, 4)
THREE = torch.tensor([0, 0, 1])
FIVE = Relation.from_groups(torch.arange(5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CoSENTLoss()(X, Y), TypeError, "CoSENTLoss learns from how pairs were judged.*pass scores="),
        (lambda: ContrastiveLoss()(X, Y), TypeError, "ContrastiveLoss learns from how .*pass scores="),
        (lambda: KLDistillationLoss()(X, Y), TypeError, r"Call it as loss\(queries, candidates, scores=scores\)"),
        (lambda: CircleLoss()(X, Y, groups=THREE), TypeError, "documents beside groups.*all objects as the first"),
        (lambda: CircleLoss()(X, Y, labels=[[1]] * 3), TypeError, "documents beside labels.*all objects as the first"),
        (lambda: ArcFaceLoss(4, 2)(X, Y), TypeError, r"ArcFaceLoss was not told .* loss\(embeddings, groups=groups\)"),
        (lambda: ArcFaceLoss(4, 2)(X, THREE), ValueError, "none of the 0 classes of ArcFaceLoss; pass classes="),
        (lambda: TripletLoss()(X), TypeError, r"TripletLoss was not told .* Call it as loss\("),
        (lambda: InfoNCELoss()(), TypeError, "InfoNCELoss takes queries .* got NoneType"),
        (lambda: InfoNCELoss()(X, Z), ValueError, "row by row, got 3 and 5; tell .* scores= or relation="),
        (lambda: InfoNCELoss()(X, [1, 2, 3]), TypeError, "takes documents as floats .* got list"),
        (lambda: InfoNCELoss()(X, Z.long()), TypeError, r"takes documents .* a tensor \(5, 4\) of torch.int64"),
        (lambda: InfoNCELoss()(X.long(), X), TypeError, "takes queries as floats"),
        (lambda: InfoNCELoss()(X, embeddings=X), TypeError, "queries and embeddings, which are one"),
        (lambda: InfoNCELoss()(X, groups=THREE, labels=[[1]] * 3), TypeError, "groups and labels; pass one"),
        (lambda: InfoNCELoss()(X, THREE, groups=THREE), TypeError, r"takes documents .* a tensor \(3,\)"),
        (lambda: InfoNCELoss()(X, torch.arange(4)), ValueError, "got 3 queries .* told of 4 .* as many groups"),
        (lambda: InfoNCELoss()(X, THREE + 0.5), ValueError, "groups must be whole numbers"),
        (lambda: InfoNCELoss()(X, groups=[0, 0, 1]), TypeError, "groups must be .* got list; torch.tensor"),
        (lambda: InfoNCELoss()(X, groups=THREE[:, None]), TypeError, r"groups must be integers \(N,\), got \(3, 1\)"),
        (lambda: InfoNCELoss()(X, groups=THREE.bool()), TypeError, "of torch.bool"),
        (lambda: InfoNCELoss()(X, labels=THREE), TypeError, r"tensor \(3,\); one label an object is groups=labels"),
        (lambda: InfoNCELoss()(X, Y, torch.ones(3)), TypeError, "scores of pairs are scores=labels"),
        (lambda: InfoNCELoss()(X, labels=2 * torch.ones(3, 2)), ValueError, "must be zeros and ones"),
        (lambda: InfoNCELoss()(X, labels=["a", "b", "c"]), TypeError, r"got 'a'; write \[\[label\], ...\]"),
        (lambda: InfoNCELoss()(X, labels="abc"), TypeError, "a list with a list of labels for each object, got str"),
        (lambda: InfoNCELoss()(X, labels=[[1], [2]]), ValueError, "got 3 queries .* told of 2 .* as many labels"),
        (lambda: InfoNCELoss()(X, labels=[[{}]] * 3), TypeError, "label.*pass labels that are str or int"),
        (lambda: InfoNCELoss()(X, scores=torch.ones(3)), TypeError, "scores without documents"),
        (lambda: InfoNCELoss()(X, Y, scores=[1, 1, 0]), TypeError, "scores must be a tensor, got list"),
        (lambda: InfoNCELoss()(X, Z, scores=torch.ones(5)), ValueError, r"scores of shape \(5,\) do not judge 3 .* 5"),
        (lambda: InfoNCELoss()(X, Y, scores=torch.full((3,), 0.5)), ValueError, "got the score 0.5"),
        (lambda: InfoNCELoss()(X, Y, relation=GROUPS), TypeError, "relation must be a Relation, got Tensor"),
        (lambda: InfoNCELoss()(X, relation=Relation.from_pairs(torch.ones(3))), TypeError, "pairs and no documents"),
        (lambda: InfoNCELoss()(X, relation=FIVE), ValueError, "got 3 queries .* told of 5 and 5"),
        (lambda: InfoNCELoss()(X, Z, relation=FIVE), TypeError, "documents beside groups"),
        (lambda: InfoNCELoss()(X, torch.tensor([[0, 1]])), TypeError, r"loss\(embeddings, pairs, labels, subgroups\)"),
        (lambda: InfoNCELoss()(X, Y, subgroups=THREE), TypeError, r"Relation.from_pairs\(scores, subgroups\)"),
        (lambda: InfoNCELoss()(X, torch.tensor([[0, 1]]), torch.ones(2)), ValueError, r"got \(1, 2\) and \(2,\)"),
    ],
)
def test_a_wrong_call_names_cause_and_cure(call: Callable[[], Tensor], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_subgroups_of_pairs_may_be_left_out() -> None:
    labels = SCORES[:6]
    bare = MultipleNegativesRankingLoss()(QUERIES, PAIRS, labels)
    assert torch.equal(bare, MultipleNegativesRankingLoss()(QUERIES, PAIRS, labels, torch.zeros(N, dtype=torch.long)))
    assert not torch.equal(bare, MultipleNegativesRankingLoss()(QUERIES, PAIRS, labels, torch.ones(N)))


def test_names_are_labels_like_those_of_samples() -> None:
    names = ["red", "blue", "green", "grey"]
    loss = SoftmaxLoss(SIZE, 4, classes=names).double()
    value = loss(QUERIES, labels=[[names[one] for one in own] for own in LISTS])
    assert torch.isfinite(value)
    with pytest.raises(ValueError, match="none of the 4 classes of SoftmaxLoss"):
        loss(QUERIES, labels=MULTI_HOT)  # its labels are 0 to 3


def test_documents_of_earlier_batches_are_told_by_a_relation() -> None:
    both = torch.cat([QUERIES, OTHERS])
    groups = torch.cat([GROUPS, torch.arange(5)])
    relation = Relation(
        RelationKind.GROUPS, N, N + 5, *[torch.zeros(0, dtype=torch.long)] * 2, torch.zeros(0), groups=groups
    )
    loss = TripletLoss()
    expected = value_of(loss.compute(Embeddings(QUERIES), Embeddings(both), relation, loss.scorer()))
    assert torch.equal(loss(QUERIES, both, relation=relation), expected)


def test_many_vectors_an_object_need_a_loss_with_a_scorer_of_them() -> None:
    class MaxSim(Scorer):
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return torch.einsum("nqd,mkd->nmqk", queries.values, documents.values).amax(3).sum(2)

    class Late(InfoNCELoss):
        def scorer(self) -> Scorer:
            return MaxSim()

    queries, documents = torch.randn(3, 2, 4), torch.randn(3, 5, 4)
    loss = Late(symmetric=False, temperature=1.0)
    expected = torch.nn.functional.cross_entropy(MaxSim()(Embeddings(queries), Embeddings(documents)), torch.arange(3))
    torch.testing.assert_close(loss(queries, documents), expected)
    with pytest.raises(ValueError, match="compares one vector with one vector"):
        InfoNCELoss()(queries, documents)


def called(seed: int) -> Tensor:
    loss = MultipleNegativesRankingLoss()
    value: Tensor = loss(vectors(N, seed), DOCUMENTS)
    return value.detach()


def test_in_a_process_group_it_is_the_loss_of_the_own_batch() -> None:
    answers = run_on_two(called, (1,), (2,))
    assert torch.equal(answers[0], called(1)) and torch.equal(answers[1], called(2))
    assert not torch.equal(*answers)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", LOSSES, ids=spelled)
def test_on_an_accelerator(kind: type[SimilarityLoss]) -> None:
    """Also class losses, whose check keeps its classes on the CPU."""

    def moved(value: Any) -> Any:
        return value.to("cuda") if isinstance(value, (Tensor, Embeddings, Relation)) else value

    for form in [FORMS[name] for other, name in TAKEN if other is kind]:
        expected = made(kind)(*form.arguments, **form.names)
        names = {key: moved(value) for key, value in form.names.items()}
        value = made(kind).to("cuda")(*map(moved, form.arguments), **names)
        torch.testing.assert_close(value.cpu(), expected)
