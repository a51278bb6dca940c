"""Encoding in chunks gives what encoding at once gives, for every loss, and keeps little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import SmallModel, groups, pairs, quiet_trainer, small_pairs, weights

from simlearn import (
    GroupSimilarityDataLoader,
    MLPHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SoftmaxLoss,
    TripletLoss,
    fit,
)
from simlearn.training import chunks


@pytest.mark.parametrize("chunk_size", [1, 5, 16, 100])
@pytest.mark.parametrize("kind", ["pairs", "two towers", "triplet", "softmax"])
def test_training_in_chunks_equals_training_at_once(kind: str, chunk_size: int) -> None:
    results = []
    for size in (None, chunk_size):
        torch.manual_seed(0)
        loss: Any = {"triplet": TripletLoss, "softmax": lambda: SoftmaxLoss(8, 16)}.get(
            kind, MultipleNegativesRankingLoss
        )()
        loader: Any = small_pairs()
        if kind in ("triplet", "softmax"):
            loader = GroupSimilarityDataLoader(groups(), batch_size=16, samples_per_group=4)
        model = SmallModel(loss, two_towers=kind == "two towers", encode_chunk_size=size).double()
        fit(model, loader, trainer=quiet_trainer(precision="64-true"))
        results.append(weights(model))
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_dropout_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for keeps_activations in (False, True):
        if keeps_activations:
            monkeypatch.setattr(chunks, "_checkpointed", lambda tower, chunk, known: tower.embed(chunk, known))
        model = SmallModel(dropout=0.5, encode_chunk_size=5)
        torch.manual_seed(3)
        fit(model, small_pairs(), trainer=quiet_trainer())
        results.append(weights(model))
    for name, expected in results[0].items():
        assert torch.equal(results[1][name], expected), name


def test_two_processes(tmp_path: Path) -> None:
    results = []
    for processes in (1, 2):
        model = SmallModel(encode_chunk_size=3).double()
        trainer = quiet_trainer(
            devices=processes, strategy="ddp_fork" if processes > 1 else "auto", precision="64-true"
        )
        fit(model, PairsSimilarityDataLoader(pairs(64), batch_size=16 // processes), trainer=trainer)
        results.append(weights(model))
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_a_chunk_is_encoded_twice_and_no_more_at_once() -> None:
    sizes: list[int] = []

    class Watching(SmallModel):
        def on_fit_start(self) -> None:
            super().on_fit_start()
            self.model.encoders["default"].register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))

    fit(Watching(encode_chunk_size=6), small_pairs(), trainer=quiet_trainer(max_epochs=1))
    assert max(sizes) == 6
    assert sum(sizes) == 2 * 2 * 64


def test_batch_normalisation_is_refused() -> None:
    class Normalised(SmallModel):
        def configure_head(self, input_embedding_size: int) -> Any:
            return MLPHead(input_embedding_size, hidden=[8], output=8, normalization="batch")

    with pytest.raises(ValueError, match="batch normalisation in train mode"):
        fit(Normalised(encode_chunk_size=4), small_pairs(), trainer=quiet_trainer())
    with pytest.raises(ValueError, match="at least 1"):
        fit(SmallModel(encode_chunk_size=0), small_pairs(), trainer=quiet_trainer())
