"""What every loss of simlearn must keep to, whatever it computes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import loss_family_classes
import loss_family_comparisons
import loss_family_scores
import pytest
import torch
from facts import Facts, joined, random_facts
from loss_oracles import ORACLES, oracle
from processes import run_on_two
from torch import Tensor
from torch.func import functional_call

from simlearn import losses
from simlearn.distributed import all_reduce_sum, world_size
from simlearn.embeddings import Embeddings
from simlearn.losses import (
    ClassLoss,
    ContrastiveLoss,
    GroupLoss,
    LossResult,
    MaskLoss,
    MultipleNegativesRankingLoss,
    PairwiseLoss,
    PytorchMetricLearningWrapper,
    SimilarityLoss,
    SoftmaxLoss,
    TripletLoss,
)
from simlearn.losses.global_loss import gather_batch, global_loss
from simlearn.relations import RelationKind, Remembered

SIZE = 5
GROUPS = (3, 4, 2**62)

# Ways to make each loss.
FACTORIES: dict[type[SimilarityLoss], list[Callable[[], SimilarityLoss]]] = {
    ContrastiveLoss: [
        ContrastiveLoss,
        lambda: ContrastiveLoss("euclidean", margin=3.0, size_average=False),
        lambda: ContrastiveLoss("manhattan", margin=4.0),
    ],
    MultipleNegativesRankingLoss: [
        MultipleNegativesRankingLoss,
        lambda: MultipleNegativesRankingLoss(3.0, "dot_product", symmetric=True),
        lambda: MultipleNegativesRankingLoss(10.0, "euclidean"),
        lambda: MultipleNegativesRankingLoss(3.0, symmetric=True, log_q=True),
        lambda: MultipleNegativesRankingLoss(3.0, log_q="all"),
    ],
    SoftmaxLoss: [
        lambda: SoftmaxLoss(SIZE, len(GROUPS), classes=GROUPS),
        lambda: SoftmaxLoss(SIZE, 7, temperature=0.5, classes=GROUPS[1:]),
    ],
    TripletLoss: [
        TripletLoss,
        lambda: TripletLoss(0.2, "manhattan"),
        lambda: TripletLoss(0.2, "dot_product"),
        lambda: TripletLoss(soft=True),
        lambda: TripletLoss(mining="semi_hard"),
        lambda: TripletLoss(0.9, "euclidean", mining="semi_hard"),
        lambda: TripletLoss(mining="all"),
        lambda: TripletLoss(0.9, "dot_product", mining="all"),
        lambda: TripletLoss(mining="all", average="all"),
        lambda: TripletLoss(mining="random", num_negatives=10_000, average="all"),
    ],
}
FAMILIES = (loss_family_classes, loss_family_comparisons, loss_family_scores)
for family in FAMILIES:
    FACTORIES |= family.FACTORIES
    ORACLES |= family.ORACLES
GRADED = (ContrastiveLoss, *(kind for family in FAMILIES for kind in family.GRADED))
CASES = [(make, kind) for makes in FACTORIES.values() for make in makes for kind in sorted(make().relations)]


def name_of(value: Any) -> str:
    if isinstance(value, RelationKind):
        return value.value
    loss = value()
    return f"{type(loss).__name__}({', '.join(map(str, loss.get_config_dict().values()))})"


# Losses whose backward pass holds a part of the value constant; their own tests look at their gradients.
WHOLE = [(make, kind) for make, kind in CASES if not isinstance(make(), loss_family_comparisons.DETACHED)]
each_case = pytest.mark.parametrize(("make", "kind"), CASES, ids=name_of)
each_loss = pytest.mark.parametrize("make", [make for makes in FACTORIES.values() for make in makes], ids=name_of)


def made(make: Callable[[], SimilarityLoss], dtype: torch.dtype = torch.float64) -> SimilarityLoss:
    torch.manual_seed(0)
    return make().to(dtype)


def batch(loss: SimilarityLoss, kind: RelationKind, seed: int, size: int) -> tuple[Facts, Tensor, Tensor]:
    """Facts with their queries and documents; the same tensor where these are shared."""
    facts = random_facts(kind, seed, size, subgroups=seed > 0, graded=isinstance(loss, GRADED))
    generator = torch.Generator().manual_seed(seed)
    if getattr(loss, "log_q", False):  # of documents, not of places: halves, which fp32 holds exactly
        told = torch.randint(-12, 0, (facts.n_documents,), generator=generator) / 2
        facts = replace(facts, log_q=told.tolist())
    width = loss_family_scores.WIDTHS.get(type(loss), SIZE)
    queries = torch.randn(facts.n_queries, width, generator=generator, dtype=torch.float64)
    if facts.shared:
        return facts, queries, queries
    return facts, queries, torch.randn(facts.n_documents, width, generator=generator, dtype=torch.float64)


def result_of(loss: SimilarityLoss, facts: Facts, queries: Tensor, documents: Tensor) -> LossResult:
    first = Embeddings(queries)
    second = first if documents is queries else Embeddings(documents)
    result = loss.compute(first, second, facts.relation(), loss.scorer())
    return result if isinstance(result, LossResult) else LossResult(result, 1, {})


def test_no_loss_is_forgotten() -> None:
    public = {getattr(losses, name) for name in losses.__all__ if name[0].isupper()}
    bases = {ClassLoss, GroupLoss, MaskLoss, PairwiseLoss, SimilarityLoss, LossResult}
    assert public - bases == set(FACTORIES), "give each loss of simlearn.losses.__all__ factories in this file"
    assert set(ORACLES) == set(FACTORIES), "give each loss a plain-loop oracle in tests/loss_oracles.py"


@each_case
def test_the_value_is_that_of_plain_loops(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    loss = made(make)
    for seed in range(6):
        for size in (1, 2, 9):
            facts, queries, documents = batch(loss, kind, seed, size)
            value = result_of(loss, facts, queries, documents).value
            assert value.shape == () and value.dtype is torch.float64
            assert value.item() == pytest.approx(oracle(loss, facts, queries, documents), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("make", "kind"), WHOLE, ids=name_of)
def test_gradients_are_those_of_the_value(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    loss = made(make)
    facts, queries, documents = batch(loss, kind, seed=3, size=5)
    inputs = {"queries": queries} if facts.shared else {"queries": queries, "documents": documents}
    inputs |= {f"loss.{name}": parameter.detach() for name, parameter in loss.named_parameters()}

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = loss

        def forward(self, queries: Tensor, documents: Tensor) -> Tensor:
            return result_of(self.loss, facts, queries, documents).value

    whole = Whole()

    def value(*tensors: Tensor) -> Tensor:
        given = dict(zip(inputs, tensors, strict=True))
        first = given.pop("queries")
        result: Tensor = functional_call(whole, given_parameters(given), (first, given.get("documents", first)))
        return result

    def given_parameters(given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in given.items() if name.startswith("loss.")}

    assert value(*inputs.values()) != 0
    assert torch.autograd.gradcheck(value, tuple(tensor.clone().requires_grad_() for tensor in inputs.values()))


@each_case
def test_the_order_of_the_samples_does_not_matter(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    loss = made(make)
    facts, queries, documents = batch(loss, kind, seed=4, size=8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0)).tolist()
    mixed, document_order = facts.permuted(order)
    others = queries[order]
    before = result_of(loss, facts, queries, documents)
    after = result_of(loss, mixed, others, others if facts.shared else documents[document_order])
    torch.testing.assert_close(after.value, before.value, rtol=1e-12, atol=1e-14)
    assert after.counts == before.counts


def gradients_of_gathered(
    loss: SimilarityLoss, facts: Facts, queries: Tensor, documents: Tensor, weight: Tensor, gathered: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """The loss of the global batch, and the gradients of all parameters averaged over the processes, as DDP does."""
    weight.requires_grad_()
    first = Embeddings(queries @ weight)
    second = first if facts.shared else Embeddings(documents @ weight)
    if gathered:
        result = LossResult.of(loss.compute(*gather_batch(first, second, facts.relation()), loss.scorer()))
    else:
        result = global_loss(loss, first, second, facts.relation(), loss.scorer())
    value = result.value
    parameters = [weight, *loss.parameters()]
    gradients = torch.autograd.grad(value, parameters)
    return value.detach(), [all_reduce_sum(gradient) / world_size() for gradient in gradients]


@each_case
@pytest.mark.parametrize("sizes", [(5, 5), (6, 1), (0, 6)], ids=str)
def test_two_processes_equal_one(
    make: Callable[[], SimilarityLoss], kind: RelationKind, sizes: tuple[int, int]
) -> None:
    loss = made(make)
    parts = [batch(loss, kind, seed, size) for seed, size in enumerate(sizes)]  # one has subgroups, the other none
    width = parts[0][1].shape[1]
    weight = torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    whole = joined([facts for facts, _, _ in parts])
    queries, documents = (torch.cat([part[side] for part in parts]) for side in (1, 2))
    expected = gradients_of_gathered(loss, whole, queries, documents, weight.clone())
    # What compares nothing across the batch need not be gathered either.
    for gathered in (True,) if loss.compares_across_batch else (True, False):
        answers = run_on_two(gradients_of_gathered, *[(loss, *part, weight, gathered) for part in parts])
        for value, gradients in answers:
            torch.testing.assert_close(value, expected[0], rtol=1e-9, atol=0)
            for gradient, other in zip(gradients, expected[1], strict=True):
                torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12)


WITH_MEMORY = [
    (make, kind)
    for make, kind in CASES
    if made(make).takes_memory and kind is not RelationKind.MATRIX
    # Theirs compare with earlier batches only; its own test has it.
    if not isinstance(make(), PytorchMetricLearningWrapper)
]


def against_memory(
    loss: SimilarityLoss, facts: Facts, queries: Tensor, documents: Tensor, earlier: tuple[Facts, Tensor]
) -> tuple[Tensor, Tensor]:
    """The loss against the batch's own documents and remembered ones, and the queries' gradient; of all processes."""
    queries.requires_grad_()
    batch_of_all = gather_batch(
        first := Embeddings(queries), first if facts.shared else Embeddings(documents), facts.relation()
    )
    whole = batch_of_all[2]
    columns = Embeddings.concatenate([batch_of_all[1].detach(), Embeddings(earlier[1])])
    relation = Remembered.of(earlier[0].relation()).behind(whole)
    result = loss.compute(batch_of_all[0], columns, relation, loss.scorer())
    value = result.value if isinstance(result, LossResult) else result
    return value.detach(), torch.autograd.grad(value, queries)[0]


@pytest.mark.parametrize(("make", "kind"), WITH_MEMORY, ids=name_of)
def test_documents_of_earlier_batches(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    """The value is that of plain loops, and two processes equal one."""
    loss = made(make)
    for seed in range(3):
        parts = [batch(loss, kind, 10 * seed + number, size) for number, size in enumerate((4, 3, 6))]
        whole = joined([facts for facts, _, _ in parts])
        one = joined([facts for facts, _, _ in parts[:2]])
        earlier = (parts[2][0], parts[2][2])
        queries = torch.cat([own for _, own, _ in parts[:2]])
        documents = torch.cat([own for _, _, own in parts])
        value, gradient = against_memory(loss, one, queries.clone(), documents[: one.n_documents], earlier)
        expected = oracle(loss, replace(whole, asked=len(queries)), queries, documents)
        assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        if seed == 0:
            answers = run_on_two(against_memory, *[(loss, *part, earlier) for part in parts[:2]])
            assert [other.item() for other, _ in answers] == pytest.approx([value.item()] * 2, rel=1e-9)
            of_two = torch.cat([own for _, own in answers]) / 2  # DDP averages
            torch.testing.assert_close(of_two, gradient, rtol=1e-9, atol=1e-12)


def of_one_class(facts: Facts) -> Facts:
    if facts.kind is RelationKind.PAIRS:
        return replace(facts, scores=[1.0] * facts.n_queries, subgroups=[(7, 7)] * facts.n_queries)
    if facts.kind is RelationKind.RANKING:
        ids = [1] * facts.n_documents
        return replace(facts, relevances=[[1.0] * len(row) for row in facts.relevances], document_ids=ids)
    return replace(facts, groups=[3] * len(facts.groups), labels=[[5] for _ in facts.labels])


def singletons(facts: Facts) -> Facts:
    if facts.kind is RelationKind.PAIRS:
        return replace(facts, scores=[0.0] * facts.n_queries)
    relevances = [[0.0] * len(row) for row in facts.relevances]
    return replace(
        facts, relevances=relevances, groups=list(range(len(facts.groups))), labels=[[] for _ in facts.labels]
    )


HARD: dict[str, tuple[Callable[[Facts], Facts], Callable[[Tensor], Tensor]]] = {
    "ordinary": (lambda facts: facts, lambda x: x),
    "coinciding": (lambda facts: facts, lambda x: torch.ones_like(x)),
    "nearly coinciding": (lambda facts: facts, lambda x: 1 + 1e-4 * x),
    "zero": (lambda facts: facts, lambda x: torch.zeros_like(x)),
    "some zero": (lambda facts: facts, lambda x: x * (torch.arange(len(x)) % 2)[:, None]),
    "huge": (lambda facts: facts, lambda x: x * 1e4),
    "tiny": (lambda facts: facts, lambda x: x * 1e-3),
    "one class": (of_one_class, lambda x: x),
    "nothing alike": (singletons, lambda x: x),
}


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("hard", HARD)
def test_value_and_gradients_are_finite(
    make: Callable[[], SimilarityLoss], kind: RelationKind, dtype: torch.dtype, hard: str
) -> None:
    loss = made(make, torch.float32)
    change, distort = HARD[hard]
    for size in (1, 8):
        facts, queries, documents = batch(loss, kind, seed=1, size=size)
        facts = change(facts)
        first = distort(queries).to(dtype).requires_grad_()
        second = first if facts.shared else distort(documents).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            value = result_of(loss, facts, first, second).value
        assert value.dtype is torch.float32 and value.isfinite()
        value.backward()
        leaves = [first, second, *loss.parameters()]
        assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves)
        assert first.grad is not None, "the value must stay in the graph"


@each_case
def test_the_size_of_tiles_does_not_matter(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    facts, queries, documents = batch(made(make), kind, seed=2, size=7)
    found = []
    for tile_bytes in (SimilarityLoss.tile_bytes, 1):  # all rows in one tile, and one row a tile
        loss = made(make)
        for module in loss.modules():
            if isinstance(module, SimilarityLoss):
                module.tile_bytes = tile_bytes
        first = queries.clone().requires_grad_()
        second = first if facts.shared else documents.clone().requires_grad_()
        result = result_of(loss, facts, first, second)
        leaves = [first, *([] if facts.shared else [second]), *loss.parameters()]
        found.append([result.value, *torch.autograd.grad(result.value, leaves, materialize_grads=True)])
        found[-1] += [count.double() for count in result.counts.values()]
    for whole, tiled in zip(*found, strict=True):
        torch.testing.assert_close(tiled, whole, rtol=1e-9, atol=1e-12)


def check_compiled(make: Callable[[], SimilarityLoss], backend: str) -> None:
    """A graph may break, a value may not."""
    loss = made(make)
    facts, queries, documents = batch(loss, sorted(loss.relations)[0], seed=2, size=4)
    relation = facts.relation()

    def value(first: Tensor, second: Tensor) -> Tensor:
        objects = Embeddings(first)
        result = loss.compute(objects, objects if second is first else Embeddings(second), relation, loss.scorer())
        return result.value if isinstance(result, LossResult) else result

    def found(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        first = queries.clone().requires_grad_()
        loss_value = function(first, first if facts.shared else documents)
        return loss_value, torch.autograd.grad(loss_value, first)[0]

    torch.compiler.reset()
    compiled = torch.compile(value, backend=backend)
    for ours, expected in zip(found(compiled), found(value), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", [makes[0] for makes in FACTORIES.values()], ids=name_of)
def test_it_compiles(make: Callable[[], SimilarityLoss]) -> None:
    check_compiled(make, "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("kind", [MultipleNegativesRankingLoss, TripletLoss, losses.ArcFaceLoss])
def test_it_compiles_to_machine_code(kind: type[SimilarityLoss]) -> None:
    check_compiled(FACTORIES[kind][0], "inductor")


@each_case
def test_no_objects(make: Callable[[], SimilarityLoss], kind: RelationKind) -> None:
    loss = made(make)
    facts, queries, documents = batch(loss, kind, seed=0, size=0)
    queries.requires_grad_()
    value = result_of(loss, facts, queries, documents).value
    value.backward()
    assert value == 0


@each_case
def test_half_precision_embeddings_are_not_rounded_further(
    make: Callable[[], SimilarityLoss], kind: RelationKind
) -> None:
    loss = made(make, torch.float32)
    facts, queries, documents = batch(loss, kind, seed=2, size=9)
    first = queries.bfloat16()
    second = first if facts.shared else documents.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = result_of(loss, facts, first, second).value
    expected = oracle(loss, facts, first, second)
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@each_loss
def test_the_config_rebuilds_the_loss(make: Callable[[], SimilarityLoss]) -> None:
    loss = made(make, torch.float32)
    config = json.loads(json.dumps(loss.get_config_dict(), allow_nan=False))
    again = type(loss)(**config)
    again.load_state_dict(loss.state_dict())
    assert again.get_config_dict() == loss.get_config_dict()
    for kind in loss.relations:
        facts, queries, documents = batch(loss, kind, seed=1, size=8)
        args = (facts, queries.float(), queries.float() if facts.shared else documents.float())
        torch.testing.assert_close(result_of(again, *args).value, result_of(loss, *args).value)
