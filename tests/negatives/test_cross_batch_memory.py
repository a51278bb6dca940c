"""What is remembered of earlier batches, and how it is compared with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import SmallModel, groups, quiet_trainer, small_pairs
from torch import Tensor

from simlearn import CoSENTLoss, GroupLoss, GroupSimilarityDataLoader, MatryoshkaLoss, SoftmaxLoss, SumLoss, fit
from simlearn.embeddings import Embeddings
from simlearn.losses import InfoNCELoss, MarginMSELoss, MultipleNegativesRankingLoss, SimilarityLoss, TripletLoss
from simlearn.negatives import CrossBatchMemory, XbmConfig, XbmDevice
from simlearn.relations import Relation


def batch(size: int, seed: int, dtype: torch.dtype = torch.float32) -> tuple[Embeddings, Relation]:
    values = torch.randn(size, 3, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return Embeddings(values), Relation.from_groups(torch.arange(size) % 3)


def weighted(memory: CrossBatchMemory, loss: SimilarityLoss, queries: Embeddings, relation: Relation) -> Tensor:
    return memory.compare(loss, queries, queries, relation, loss.scorer())


def test_the_latest_documents_stay_whatever_the_size_of_batches() -> None:
    memory = CrossBatchMemory(XbmConfig(buffer_size=5), TripletLoss())
    kept = torch.empty(0, 3)
    for number, size in enumerate((2, 2, 0, 3, 9, 1)):
        documents, relation = batch(size, number)
        memory.remember(documents, relation)
        kept = torch.cat([kept, documents.values])[-5:]
        assert torch.equal(memory.get_extra_state()["values"], kept)
        assert len(memory) == len(kept) == len(memory.get_extra_state()["groups"])


def test_the_loss_is_that_against_its_own_documents_and_the_remembered_ones() -> None:
    loss = TripletLoss(mining="all")
    memory = CrossBatchMemory(XbmConfig(weight=0.25), loss)
    first, of_first = batch(6, 0)
    queries, relation = batch(4, 1)
    queries.values.requires_grad_()
    assert weighted(memory, loss, queries, relation) == 0
    memory.remember(first, of_first)
    value = weighted(memory, loss, queries, relation)
    whole = Relation.from_groups(torch.cat([torch.arange(4) % 3, torch.arange(6) % 3]))
    distances = 1 - torch.cosine_similarity(
        queries.values[:, None], torch.cat([queries.values.detach(), first.values])[None], dim=-1
    )
    positives, negatives = whole.positives(slice(4)), whole.negatives(slice(4))
    gaps = distances[:, :, None] - distances[:, None, :] + loss.margin
    violations = gaps[positives[:, :, None] & negatives[:, None, :]]
    expected = 0.25 * violations[violations > 0].mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value, queries.values)[0], torch.autograd.grad(expected, queries.values)[0]
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_any_dtype_and_many_vectors(dtype: torch.dtype) -> None:
    loss = InfoNCELoss()
    memory = CrossBatchMemory(XbmConfig(), loss)
    for seed in range(2):
        documents, relation = batch(6, seed, dtype)
        assert weighted(memory, loss, documents, relation).isfinite()
        memory.remember(documents, relation)
    assert memory.get_extra_state()["values"].dtype is dtype
    of_many = CrossBatchMemory(XbmConfig(buffer_size=3), loss)
    for length in (2, 4):
        of_many.remember(Embeddings(torch.ones(2, length, 3)), Relation.from_groups(torch.arange(2)))
    state = of_many.get_extra_state()
    assert state["values"].shape == (3, 4, 3) and state["mask"].sum(1).tolist() == [2, 4, 4]


def test_state_travels_in_the_state_dict() -> None:
    memory = CrossBatchMemory(XbmConfig(buffer_size=4), TripletLoss())
    again = CrossBatchMemory(XbmConfig(buffer_size=4), TripletLoss())
    again.load_state_dict(memory.state_dict())
    assert len(again) == 0
    for seed in range(2):
        memory.remember(*batch(3, seed))
    state = memory.state_dict()["_extra_state"]
    assert state["values"].untyped_storage().nbytes() == 4 * 3 * 4, "a view would save what it is a view of"
    again.load_state_dict(memory.state_dict())
    assert len(again) == 4
    queries, relation = batch(5, 7)
    assert weighted(again, TripletLoss(), queries, relation) == weighted(memory, TripletLoss(), queries, relation)


@pytest.mark.parametrize(
    "loss",
    [SoftmaxLoss(8, 3), CoSENTLoss(), MarginMSELoss(), SumLoss([TripletLoss(), SoftmaxLoss(8, 3)])],
    ids=lambda loss: type(loss).__name__,
)
def test_losses_that_compare_nothing_are_refused_at_construction(loss: SimilarityLoss) -> None:
    with pytest.raises(TypeError, match=f"{type(loss).__name__} cannot use a cross-batch memory: it does not compare"):
        SmallModel(loss, xbm=XbmConfig())


class Own(GroupLoss):
    """A loss in Quaterion's form."""

    def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
        return embeddings.square().mean()

    def xbm_loss(self, embeddings: Tensor, groups: Tensor, memory_embeddings: Tensor, memory_groups: Tensor) -> Tensor:
        alike = groups[:, None] == memory_groups[None]
        return (torch.cdist(embeddings, memory_embeddings) * alike).mean()


def test_a_users_loss_takes_part_with_xbm_loss() -> None:
    loss = MatryoshkaLoss(Own(), dims=[3])
    memory = CrossBatchMemory(XbmConfig(), loss)
    first, of_first = batch(6, 0)
    memory.remember(first, of_first)
    queries, relation = batch(4, 1)
    expected = Own().xbm_loss(queries.values, torch.arange(4) % 3, first.values, torch.arange(6) % 3)
    torch.testing.assert_close(weighted(memory, loss, queries, relation), expected)

    class Without(GroupLoss):
        def forward(self, embeddings: Tensor, groups: Tensor) -> Tensor:
            return embeddings.sum()

    with pytest.raises(TypeError, match="a GroupLoss of your own takes part once it defines xbm_loss"):
        CrossBatchMemory(XbmConfig(), Without())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 0.0}, "weight must be above 0"),
        ({"buffer_size": 0}, "buffer_size must be at least 1"),
        ({"start_iteration": -1}, "start_iteration must not be negative"),
        ({"device": "tpu"}, "'tpu' is not a valid XbmDevice"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        XbmConfig(**options)


def test_a_memory_on_a_gpu_needs_one() -> None:
    memory = CrossBatchMemory(XbmConfig(device=XbmDevice.CUDA), TripletLoss())
    with pytest.raises(ValueError, match="XbmDevice.CUDA needs the model on a GPU, it is on cpu"):
        memory.remember(*batch(2, 0))


@pytest.mark.parametrize("device", [XbmDevice.AUTO, "cpu"])
@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_training_with_a_memory(kind: str, device: XbmDevice | str) -> None:
    model = SmallModel(
        TripletLoss(2.0) if kind == "groups" else MultipleNegativesRankingLoss(symmetric=True),
        xbm=XbmConfig(buffer_size=24, start_iteration=2, device=device),
    )
    loader = GroupSimilarityDataLoader(groups(64), batch_size=16, samples_per_group=4)
    trainer = quiet_trainer()
    fit(model, loader if kind == "groups" else small_pairs(), trainer=trainer)
    assert model.memories and len(model.memories["xbm"]) == 24
    assert 0 < trainer.callback_metrics["train_xbm_loss"] < trainer.callback_metrics["train_loss"]
