"""What a step makes of embeddings: the loss, what memories add, and what is gathered for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import SmallModel, quiet_trainer, small_pairs
from torch import Tensor

from simlearn import ListwiseSoftmaxLoss, SimilarityLoss, TripletLoss, fit
from simlearn.embeddings import Embeddings
from simlearn.losses import LossResult
from simlearn.negatives import CrossBatchMemory, Memory, XbmConfig
from simlearn.relations import Relation
from simlearn.training import TrainStage
from simlearn.training import objective as objective_module
from simlearn.training.objective import Objective


class Centre(Memory):
    """A memory as a user writes it: pulls queries to the mean of all documents so far."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.seen: list[int] = []

    def terms(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Any,
        step: int,
    ) -> dict[str, Tensor]:
        self.seen.append(step)
        return {"centre": (queries.values - self.mean).square().mean()}

    def remember(self, documents: Embeddings, relation: Relation, origins: Tensor | None = None) -> None:
        self.mean.lerp_(documents.values.detach().mean(0), 0.5)


def batch(seed: int = 0) -> tuple[Embeddings, Relation]:
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
    return Embeddings(values.requires_grad_()), Relation.from_groups(torch.arange(6) % 2)


def test_each_memory_adds_its_terms_before_it_takes_the_batch_in() -> None:
    loss, centre = TripletLoss(), Centre()
    memory = CrossBatchMemory(XbmConfig(start_iteration=0), loss)
    objective = Objective(loss, loss.scorer(), [memory, centre])
    for step in range(2):
        queries, relation = batch(step)
        mean = centre.mean.clone()
        against = memory.compare(loss, queries, queries, relation, loss.scorer())
        outcome = objective.step(queries, queries, relation, TrainStage.TRAIN, step)
        assert outcome.terms.keys() == {"xbm_loss", "centre"} and centre.seen == list(range(step + 1))
        torch.testing.assert_close(outcome.terms["xbm_loss"], against)
        torch.testing.assert_close(outcome.terms["centre"], (queries.values - mean).square().mean())
        own = loss.compute(queries, queries, relation, loss.scorer()).value
        torch.testing.assert_close(outcome.value, own + sum(outcome.terms.values()))
    assert len(memory) == 12 and not torch.equal(centre.mean, mean)


def test_memories_rest_in_validation() -> None:
    loss, centre = TripletLoss(), Centre()
    queries, relation = batch()
    outcome = Objective(loss, loss.scorer(), [centre]).step(queries, queries, relation, TrainStage.VALIDATION, 0)
    assert not outcome.terms and not centre.seen and not centre.mean.any()


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("memories", [[], [Centre()]], ids=["no memory", "a memory"])
@pytest.mark.parametrize("processes", [1, 2])
def test_batches_are_gathered_only_for_what_compares_across_them(
    monkeypatch: pytest.MonkeyPatch, watched: bool, memories: list[Memory], processes: int
) -> None:
    """What is gathered, and what added up, is tried on real processes elsewhere; here, when it is."""
    gathered: list[int] = []
    summed: list[int] = []
    monkeypatch.setattr(objective_module, "world_size", lambda: processes)
    monkeypatch.setattr(objective_module, "gather_batch", lambda *given: (gathered.append(1), given)[1])
    monkeypatch.setattr(LossResult, "over_processes", lambda result: (summed.append(1), result)[1])
    queries, documents = batch()[0], batch(1)[0]
    relation = Relation.from_ranking(torch.tensor([0, 3, 6]), torch.tensor([1.0, 0, 0, 0, 1, 0]))
    loss = ListwiseSoftmaxLoss()
    objective = Objective(loss, loss.scorer(), memories, watched=watched)
    outcome = objective.step(queries.take(slice(2)), documents, relation, TrainStage.TRAIN, 0)
    several, whole = processes > 1, bool(watched or memories)
    assert (bool(gathered), bool(summed)) == (several and whole, several and not whole)
    expected = loss.compute(queries.take(slice(2)), documents, relation, loss.scorer()).value
    torch.testing.assert_close(outcome.value - sum(outcome.terms.values()), expected)


def test_a_model_may_have_several_memories_whose_state_is_in_checkpoints() -> None:
    class Centred(SmallModel):
        def _build_memories(self, loss: SimilarityLoss) -> dict[str, Memory]:
            centre = Centre()
            centre.mean = torch.zeros(8)
            return {**super()._build_memories(loss), "centre": centre}

    model = Centred(xbm=XbmConfig(start_iteration=1, buffer_size=20))
    trainer = quiet_trainer()
    fit(model, small_pairs(), trainer=trainer)
    assert {"train_xbm_loss", "train_centre", "train_loss"} <= trainer.callback_metrics.keys()
    state = model.state_dict()
    assert state["memories.centre.mean"].any() and len(state["memories.xbm._extra_state"]["values"]) == 20


def test_a_checkpoint_of_version_0_1_names_its_memory_otherwise() -> None:
    model = SmallModel(xbm=XbmConfig(buffer_size=20))
    fit(model, small_pairs(), trainer=quiet_trainer())
    checkpoint = {"state_dict": dict(model.state_dict())}
    checkpoint["state_dict"]["memory._extra_state"] = checkpoint["state_dict"].pop("memories.xbm._extra_state")
    other = SmallModel(xbm=XbmConfig(buffer_size=20))
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"])
    assert len(other.memories["xbm"]) == 20  # type: ignore[arg-type]


def test_a_loss_that_is_exchanged_counts_at_once() -> None:
    class Exchanging(SmallModel):
        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.loss = TripletLoss(mining="all")

    trainer = quiet_trainer()
    model = Exchanging(TripletLoss(margin=0.0))
    fit(model, small_pairs(), trainer=trainer)
    assert model.objective.loss is model.loss and model.loss.margin == 0.3


def test_memories_that_are_switched_on_late_start_empty() -> None:
    class Centred(SmallModel):
        def _build_memories(self, loss: SimilarityLoss) -> dict[str, Memory]:
            return {**super()._build_memories(loss), "centre": Centre()}

    plain = SmallModel()
    checkpoint = {"state_dict": dict(plain.state_dict())}
    late = Centred(xbm=XbmConfig())
    late.on_load_checkpoint(checkpoint)
    late.load_state_dict(checkpoint["state_dict"])
    assert len(late.memories["xbm"]) == 0  # type: ignore[arg-type]
