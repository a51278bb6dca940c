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
    SimilarityGroupSample,
    SimilarityPairSample,
    SoftmaxLoss,
    TripletLoss,
    TwoTower,
    fit,
)
from simlearn.encoders import Encoder
from simlearn.towers import chunks

PADDED: list[int] = []
"""The padded sizes of what was encoded."""


class Sequences(Encoder):
    """The mean of a layer over lists of numbers, padded to the longest; it counts them."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 8)
        self.dropout = torch.nn.Dropout(dropout)

    @property
    def embedding_size(self) -> int:
        return 8

    def get_collate_fn(self) -> Any:
        return CountedLists()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        PADDED.append(batch.numel())
        mask = batch.isfinite()[..., None]
        values = torch.tanh(self.linear(batch.nan_to_num(7.0)[..., None])) * mask
        return self.dropout(values.sum(1) / mask.sum(1))


class CountedLists:
    def __call__(self, objects: list[Any]) -> torch.Tensor:
        longest = max(map(len, objects))
        rows = [[*obj, *[float("nan")] * (longest - len(obj))] for obj in objects]
        return torch.tensor(rows, dtype=torch.get_default_dtype())

    def lengths(self, objects: list[Any]) -> list[int]:
        return [len(obj) for obj in objects]


class SequenceModel(SmallModel):
    def configure_encoders(self) -> Any:
        encoder = Sequences(self.options["dropout"])
        return TwoTower(query=encoder, document=Sequences()) if self.options["two_towers"] else encoder


def sequences(count: int = 64) -> list[list[float]]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 13, (count,), generator=generator).tolist()
    return [torch.randn(length, generator=generator).tolist() for length in lengths]


def sequence_pairs(batch_size: int = 16, count: int = 64) -> PairsSimilarityDataLoader:
    made = sequences(2 * count)
    samples = [SimilarityPairSample(a, b) for a, b in zip(made[::2], made[1::2], strict=True)]
    return PairsSimilarityDataLoader(samples, batch_size=batch_size)


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


@pytest.mark.parametrize("budget", [1, 30, 64, 10_000])
@pytest.mark.parametrize("kind", ["pairs", "two towers", "triplet", "softmax"])
def test_training_within_a_token_budget_equals_training_at_once(kind: str, budget: int) -> None:
    results = []
    for tokens in (None, budget):
        torch.manual_seed(0)
        loss: Any = {"triplet": TripletLoss, "softmax": lambda: SoftmaxLoss(8, 16)}.get(
            kind, MultipleNegativesRankingLoss
        )()
        loader: Any = sequence_pairs()
        if kind in ("triplet", "softmax"):
            samples = [SimilarityGroupSample(obj, number // 4) for number, obj in enumerate(sequences())]
            loader = GroupSimilarityDataLoader(samples, batch_size=16, samples_per_group=4)
        PADDED.clear()
        model = SequenceModel(loss, two_towers=kind == "two towers", encode_chunk_tokens=tokens).double()
        fit(model, loader, trainer=quiet_trainer(precision="64-true"))
        results.append(weights(model))
    assert max(PADDED) <= max(budget, 12)
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_a_token_budget_on_two_processes() -> None:
    """Their batches differ in lengths, so in their number of chunks."""
    results = []
    for processes in (1, 2):
        model = SequenceModel(encode_chunk_tokens=40).double()
        trainer = quiet_trainer(
            devices=processes, strategy="ddp_fork" if processes > 1 else "auto", precision="64-true"
        )
        fit(model, sequence_pairs(16 // processes), trainer=trainer)
        results.append(weights(model))
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-9, atol=1e-12, msg=name)


def test_a_budget_pads_less_than_chunks_of_as_many_objects() -> None:
    padded = []
    for options in ({"encode_chunk_size": 8}, {"encode_chunk_tokens": 96}):
        PADDED.clear()
        fit(SequenceModel(**options), sequence_pairs(), trainer=quiet_trainer(max_epochs=1))
        assert max(PADDED) <= 96
        padded.append(sum(PADDED))
    assert padded[1] < 0.75 * padded[0]


def test_budgets_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="give only one of them"):
        fit(SequenceModel(encode_chunk_size=4, encode_chunk_tokens=9), sequence_pairs(), trainer=quiet_trainer())
    with pytest.raises(ValueError, match="encode_chunk_tokens must be at least 1"):
        fit(SequenceModel(encode_chunk_tokens=0), sequence_pairs(), trainer=quiet_trainer())
    with pytest.raises(TypeError, match="encoder 'default' cannot tell"):
        fit(SmallModel(encode_chunk_tokens=9), small_pairs(), trainer=quiet_trainer())


@pytest.mark.parametrize("tokens", [False, True])
def test_dropout_is_replayed(monkeypatch: pytest.MonkeyPatch, tokens: bool) -> None:
    results = []
    for keeps_activations in (False, True):
        if keeps_activations:
            monkeypatch.setattr(chunks, "_checkpointed", lambda tower, chunk, known: tower.embed(chunk, known))
        if tokens:
            model: SmallModel = SequenceModel(dropout=0.5, encode_chunk_tokens=40)
        else:
            model = SmallModel(dropout=0.5, encode_chunk_size=5)
        torch.manual_seed(3)
        fit(model, sequence_pairs() if tokens else small_pairs(), trainer=quiet_trainer())
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
