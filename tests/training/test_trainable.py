"""A training of another kind than ours, on the few questions that `Trainable` asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import NumbersEncoder, pairs, quiet_trainer, small_pairs
from torch import nn

from simlearn import PairsSimilarityDataLoader, SimilarityModel, SkipConnectionHead, fit
from simlearn.data import Batch, SimilarityDataLoader
from simlearn.losses import MultipleNegativesRankingLoss
from simlearn.training import SpaceHealth, Trainable, TrainStage
from simlearn.training.objective import Outcome
from simlearn.training.session import Session


class Denoiser(Trainable):
    """Learns to say of each query what its document is, without any loss of simlearn's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        torch.manual_seed(0)
        encoder = NumbersEncoder()
        self.model = SimilarityModel(encoder, SkipConnectionHead(encoder.embedding_size))
        self.decoder = nn.Linear(encoder.embedding_size, encoder.embedding_size)
        self.checked: list[Any] = []

    def bind(self, loaders: Mapping[TrainStage, SimilarityDataLoader]) -> Session:
        return Session(self.model, MultipleNegativesRankingLoss(), loaders)

    def check(self, train: SimilarityDataLoader, validation: SimilarityDataLoader | None, world_size: int) -> None:
        self.checked.append((train, validation, world_size))

    def trained_parts(self) -> list[nn.Module]:
        return [self.model, self.decoder]

    def step(self, batch: Batch, batch_idx: int, stage: TrainStage) -> Outcome:
        queries, documents = self.session.embed(batch)
        value = (self.decoder(queries.values) - documents.values.detach()).square().mean()
        return Outcome(
            value, {"squares": value}, {"objects": torch.tensor(len(queries))}, [], queries, documents, batch.relation
        )

    def facts(self) -> dict[str, Any]:
        return {"loss": "squared errors"}


def test_it_trains_stops_and_is_served(tmp_path: Path) -> None:
    model, validation = Denoiser(), PairsSimilarityDataLoader(pairs(32, seed=5), batch_size=16)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    fit(model, small_pairs(), validation)
    assert all(not torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert model.checked == [(model.checked[0][0], validation, 1)]
    figures = model.trainer.callback_metrics
    assert {"train_loss", "train_squares", "train_objects", "validation_loss", "validation_objects"} <= figures.keys()
    assert figures["validation_objects"] == 32
    model.save_servable(str(tmp_path / "served"))
    served = SimilarityModel.load(tmp_path / "served", classes=[NumbersEncoder])
    assert served.card.training["loss"] == "squared errors" and "validation_loss" in served.card.scores


def test_its_space_is_watched() -> None:
    model, health = Denoiser(), SpaceHealth()
    fit(model, small_pairs(), trainer=quiet_trainer(callbacks=[health]))
    assert health.last is not None and health.last.count >= 3


def test_the_sanity_of_a_subclass_is_asked_for() -> None:
    class Nothing(Trainable):
        def __init__(self) -> None:
            super().__init__()
            self.model = SimilarityModel(NumbersEncoder())

    with pytest.raises(NotImplementedError, match="Nothing must define check"):
        fit(Nothing(), small_pairs(), trainer=quiet_trainer())
    with pytest.raises(TypeError, match="fit trains a TrainableModel"):
        fit(pl.LightningModule(), small_pairs())  # type: ignore[arg-type]
