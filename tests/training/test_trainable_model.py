"""The model in training: precisions, modes, losses, what is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import SmallModel, groups, numbers, quiet_trainer, small_pairs, weights

from simlearn import (
    CacheConfig,
    GroupLoss,
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairwiseLoss,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityRankingSample,
    SoftmaxLoss,
    SumLoss,
    TripletLoss,
    fit,
)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("cached", [False, True])
def test_precisions(precision: Any, cached: bool) -> None:
    model = SmallModel(frozen=cached, cache=CacheConfig() if cached else None)
    trainer = quiet_trainer(precision=precision)
    before = weights(model)
    fit(model, small_pairs(), small_pairs(), trainer=trainer)
    assert torch.isfinite(trainer.callback_metrics["train_loss"])
    after = weights(model)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[name].to(after[name].dtype), after[name]) for name in after)
    assert model.model.encode(numbers(3, 2)).dtype == (np.float64 if precision == "64-true" else np.float32)


def test_frozen_encoders_rest_and_trainable_ones_train() -> None:
    class Modes(SmallModel):
        seen: list[bool]

        def on_train_batch_end(self, *args: Any) -> None:
            self.seen.append(self.model.encoders["default"].training)

    frozen, trainable = Modes(frozen=True, dropout=0.5), Modes(dropout=0.5)
    for model in (frozen, trainable):
        model.seen = []
        model.eval()
        fit(model, small_pairs(), small_pairs(), trainer=quiet_trainer())
    assert set(frozen.seen) == {False}
    assert set(trainable.seen) == {True}


def test_a_users_losses_in_quaterions_form_train() -> None:
    class Spread(GroupLoss):
        def forward(self, embeddings: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
            same = groups[:, None] == groups[None, :]
            return (torch.cdist(embeddings, embeddings) * torch.where(same, 1.0, -0.1)).mean()

    class Near(PairwiseLoss):
        def forward(self, embeddings: Any, pairs: Any, labels: Any, subgroups: Any) -> torch.Tensor:
            return ((embeddings[pairs[:, 0]] - embeddings[pairs[:, 1]]).square().sum(1) * labels).mean()

    for loss, loader in (
        (Spread(), GroupSimilarityDataLoader(groups(), batch_size=16, samples_per_group=4)),
        (Near(), small_pairs()),
    ):
        model = SmallModel(loss)
        before = weights(model)
        fit(model, loader, trainer=quiet_trainer())
        assert any(not torch.equal(weights(model)[name], value) for name, value in before.items())


def test_rankings_and_two_towers() -> None:
    samples = [
        SimilarityRankingSample(numbers(i, 1)[0], numbers(i, 2 + i % 3), [1.0] + [0.0] * (1 + i % 3)) for i in range(32)
    ]
    model = SmallModel(two_towers=True)
    fit(model, RankingSimilarityDataLoader(samples, batch_size=8), trainer=quiet_trainer())
    assert model.model.encode_query(numbers(1, 3)).shape == (3, 8)


def test_counts_of_anchors_are_logged() -> None:
    trainer = quiet_trainer()
    samples = [SimilarityGroupSample(obj, row % 2 if row < 32 else row) for row, obj in enumerate(numbers(0, 64))]
    fit(SmallModel(TripletLoss()), GroupSimilarityDataLoader(samples, batch_size=16, shuffle=False), trainer=trainer)
    assert trainer.callback_metrics["train_anchors_without_positive"] == 32


def test_unknown_groups_are_skipped_and_counted_in_validation() -> None:
    trainer = quiet_trainer()
    train = GroupSimilarityDataLoader(groups(64), batch_size=16)
    validation = GroupSimilarityDataLoader(
        groups(64) + [SimilarityGroupSample(obj, "never seen") for obj in numbers(8, 5)], batch_size=16
    )
    model = SmallModel(SoftmaxLoss(8, 16))
    fit(model, train, validation, trainer=trainer)
    assert trainer.callback_metrics["validation_unknown_groups"] == 5
    assert torch.isfinite(trainer.callback_metrics["validation_loss"])


def test_class_losses_inside_others_find_their_classes_in_labels_too() -> None:
    samples = [SimilarityLabelSample(obj, [f"half {row % 2}", row % 4]) for row, obj in enumerate(numbers(0, 64))]
    inner = SoftmaxLoss(8, 6)
    model = SmallModel(SumLoss([inner, TripletLoss()]))
    before = weights(model)
    fit(model, LabelSimilarityDataLoader(samples, batch_size=16), trainer=quiet_trainer())
    assert inner.has_classes
    kernel = next(name for name in before if name.endswith("kernel"))
    assert not torch.equal(weights(model)[kernel], before[kernel])
