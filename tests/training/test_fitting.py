"""The entry point: what it trains, what it leaves alone, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from small_models import NumbersEncoder, SmallModel, groups, numbers, pairs, weights
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    ContrastiveLoss,
    Distance,
    DotScorer,
    EmptyHead,
    GroupLoss,
    GroupSimilarityDataLoader,
    MLPHead,
    PairsSimilarityDataLoader,
    PairwiseLoss,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityPairSample,
    SimilarityRankingSample,
    SoftmaxLoss,
    TrainableModel,
    TripletLoss,
    fit,
    trainer_defaults,
)


def quiet_trainer(**options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**settings, **options})


def small_pairs(**options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(pairs(), batch_size=16, **options)


def test_one_loader_fits_twice_and_is_left_as_it_was() -> None:
    loader = small_pairs()
    before = dict(vars(loader))
    first, second = SmallModel(), SmallModel()
    fit(first, loader, trainer=quiet_trainer())
    fit(second, loader, trainer=quiet_trainer())
    for name, expected in weights(first).items():
        assert torch.equal(weights(second)[name], expected)
    assert vars(loader) == before
    assert next(iter(loader)).queries == [sample.obj_a for sample in pairs()[:16]]


def test_a_model_can_be_fitted_again() -> None:
    model = SmallModel()
    fit(model, small_pairs(), trainer=quiet_trainer())
    once = weights(model)
    fit(model, small_pairs(), trainer=quiet_trainer())
    assert any(not torch.equal(weights(model)[name], value) for name, value in once.items())


def test_users_trainer_keeps_its_callbacks_only() -> None:
    trainer = quiet_trainer()
    before = list(trainer.callbacks)
    fit(SmallModel(), small_pairs(), small_pairs(), trainer=trainer)
    assert trainer.callbacks == before


def test_own_trainer_stops_early_and_restores_the_best_weights(capsys: pytest.CaptureFixture[str]) -> None:
    class Watching(SmallModel):
        history: list[tuple[float, dict[str, torch.Tensor]]]

        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            if not self.trainer.sanity_checking:
                self.history.append((float(self.trainer.callback_metrics["validation_loss"]), weights(self)))

    model = Watching(learning_rate=0.5)
    model.history = []
    fit(model, small_pairs(), PairsSimilarityDataLoader(pairs(32, seed=40), batch_size=16))
    losses = [loss for loss, _ in model.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 or len(losses) == 100
    assert best < len(losses) - 1, "this test needs a run whose last epoch is not its best"
    for name, expected in model.history[best][1].items():
        assert torch.equal(weights(model)[name], expected)
    assert "No validation data" not in capsys.readouterr().out


def test_without_validation_ten_epochs_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = SmallModel()
    fit(model, small_pairs())
    assert capsys.readouterr().out == "No validation data: training for 10 epochs.\n"
    assert model.model.card.training["epochs"] == 10


def test_trainer_defaults_are_arguments_of_a_trainer() -> None:
    arguments = trainer_defaults()
    arguments["min_epochs"] = 2
    arguments["max_epochs"] = 3
    arguments["callbacks"].append(pl.Callback())
    trainer = pl.Trainer(**arguments)
    fit(SmallModel(), small_pairs(), trainer=trainer)
    assert trainer.current_epoch == 3


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


def test_pretrained_encoders_get_the_smaller_rate_and_matrices_the_decay() -> None:
    class Pretrained(NumbersEncoder):
        pretrained = True  # type: ignore[assignment]

    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return {"old": Pretrained(), "new": NumbersEncoder()}

    model = Model(SoftmaxLoss(16, 16), learning_rate=0.1, encoder_learning_rate=0.01, warmup=0)
    optimizer = model.configure_optimizers()["optimizer"]
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    expected = {name: (0.01 if ".old." in name else 0.1) for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)][0] == expected[name], name
        assert rates[id(parameter)][1] == (0.01 if parameter.ndim > 1 else 0.0), name


def test_warmup_is_linear() -> None:
    class Watching(SmallModel):
        rates: list[float]

        def on_train_batch_start(self, *args: Any) -> None:
            self.rates.append(self.optimizers().param_groups[0]["lr"])

    model = Watching(warmup=3, learning_rate=0.4)
    model.rates = []
    fit(model, small_pairs(), trainer=quiet_trainer())
    assert model.rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4])


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


class _EmptyStream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


def _group_stream() -> IterableDataset[Any]:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(groups())

    return Stream()


def _nan_pairs() -> list[SimilarityPairSample]:
    return [*pairs(8), SimilarityPairSample([0.0] * 4, [1.0] * 4, score=float("nan"))]


def _graded_pairs() -> list[SimilarityPairSample]:
    return [SimilarityPairSample(pair.obj_a, pair.obj_b, score=0.5) for pair in pairs()]


class _Forgetful(SmallModel):
    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.model.parameters())


class _UnevenTowers(SmallModel):
    def configure_query_head(self, input_embedding_size: int) -> Any:
        return MLPHead(input_embedding_size, hidden=[], output=3)


class _TwoDistances(SmallModel):
    def configure_scorer(self) -> Any:
        return DotScorer()


BAD: list[tuple[str, Any, Any, type[Exception], str]] = [
    ("empty list", lambda: SmallModel(), lambda: PairsSimilarityDataLoader([]), ValueError, "data set is empty"),
    (
        "empty stream",
        lambda: SmallModel(),
        lambda: PairsSimilarityDataLoader(_EmptyStream()),
        ValueError,
        "data set is empty",
    ),
    (
        "wrong sample kind for the loader",
        lambda: SmallModel(),
        lambda: PairsSimilarityDataLoader(groups()),
        TypeError,
        "SimilarityPairSample is needed",
    ),
    (
        "wrong kind for the loss",
        lambda: SmallModel(SoftmaxLoss(8, 16)),
        small_pairs,
        TypeError,
        "SoftmaxLoss learns from groups, PairsSimilarityDataLoader gives pairs",
    ),
    (
        "no negatives",
        lambda: SmallModel(ContrastiveLoss()),
        small_pairs,
        ValueError,
        "needs different objects.*score=0.0",
    ),
    (
        "no positives",
        lambda: SmallModel(TripletLoss()),
        lambda: GroupSimilarityDataLoader(
            [SimilarityGroupSample(obj, i) for i, obj in enumerate(numbers(0, 8))], batch_size=4
        ),
        ValueError,
        "needs similar objects.*every group has one object",
    ),
    (
        "one group",
        lambda: SmallModel(TripletLoss()),
        lambda: GroupSimilarityDataLoader([SimilarityGroupSample(o, 1) for o in numbers(0, 8)], batch_size=4),
        ValueError,
        "there is only one group",
    ),
    (
        "nothing trainable",
        lambda: SmallModel(frozen=True, head=False),
        small_pairs,
        ValueError,
        "nothing is trainable",
    ),
    ("uneven towers", lambda: _UnevenTowers(two_towers=True), small_pairs, ValueError, "different sizes"),
    (
        "groups for two towers",
        lambda: SmallModel(TripletLoss(), two_towers=True),
        lambda: GroupSimilarityDataLoader(groups(), batch_size=16),
        TypeError,
        "give pairs or rankings",
    ),
    (
        "NaN score",
        lambda: SmallModel(),
        lambda: PairsSimilarityDataLoader(_nan_pairs(), batch_size=4),
        ValueError,
        "finite number",
    ),
    (
        "graded score",
        lambda: SmallModel(),
        lambda: PairsSimilarityDataLoader(_graded_pairs(), batch_size=16),
        ValueError,
        "ContrastiveLoss learns from graded scores",
    ),
    (
        "an optimiser that forgets the loss",
        lambda: _Forgetful(SoftmaxLoss(8, 16)),
        lambda: GroupSimilarityDataLoader(groups(), batch_size=16),
        ValueError,
        "loss.kernel",
    ),
    (
        "too few classes",
        lambda: SmallModel(SoftmaxLoss(8, 3)),
        lambda: GroupSimilarityDataLoader(groups(), batch_size=16),
        ValueError,
        "num_groups=16",
    ),
    (
        "a stream for a class loss",
        lambda: SmallModel(SoftmaxLoss(8, 16)),
        lambda: GroupSimilarityDataLoader(_group_stream(), batch_size=16),
        ValueError,
        "classes=",
    ),
    (
        "less than a batch",
        lambda: SmallModel(),
        lambda: PairsSimilarityDataLoader(pairs(8), batch_size=16),
        ValueError,
        "does not fill one batch",
    ),
    (
        "two distances",
        lambda: _TwoDistances(TripletLoss(distance_metric_name=Distance.COSINE)),
        small_pairs,
        ValueError,
        "one place",
    ),
]


@pytest.mark.parametrize(("model", "loader", "error", "message"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_bad_input_names_cause_and_cure(model: Any, loader: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(model(), loader(), trainer=quiet_trainer())


def test_a_finished_trainer_is_refused() -> None:
    trainer = quiet_trainer()
    fit(SmallModel(), small_pairs(), trainer=trainer)
    with pytest.raises(ValueError, match="max_epochs=2"):
        fit(SmallModel(), small_pairs(), trainer=trainer)
    trainer.fit_loop.max_epochs = 3
    fit(SmallModel(), small_pairs(), trainer=trainer)
    assert trainer.current_epoch == 3


def test_a_trainer_in_second_place_is_told_to_use_the_keyword() -> None:
    with pytest.raises(TypeError, match="by keyword"):
        fit(SmallModel(), quiet_trainer(), small_pairs())  # type: ignore[arg-type]


def test_other_arguments_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="subclass simlearn.TrainableModel"):
        fit(EmptyHead(3), small_pairs())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="PairsSimilarityDataLoader"):
        fit(SmallModel(), pairs())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="needs train_dataloader"):
        fit(SmallModel())
    with pytest.raises(TypeError, match="configure_loss must return a SimilarityLoss"):
        SmallModel(torch.nn.MSELoss())  # type: ignore[arg-type]


def test_validation_data_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="GroupSimilarityDataLoader gives groups"):
        fit(SmallModel(ContrastiveLoss()), _known_negatives(), GroupSimilarityDataLoader(groups()))


def _known_negatives() -> PairsSimilarityDataLoader:
    samples = [SimilarityPairSample(p.obj_a, p.obj_b, row % 2) for row, p in enumerate(pairs())]
    return PairsSimilarityDataLoader(samples, batch_size=16)


def test_training_without_fit_names_fit() -> None:
    with pytest.raises(TypeError, match="train with simlearn.fit"):
        quiet_trainer().fit(SmallModel(), train_dataloaders=small_pairs())
    assert issubclass(SmallModel, TrainableModel)


def test_an_error_in_training_leaves_trainer_and_model_usable() -> None:
    class Stumbles(SmallModel):
        stumble = True

        def process_results(self, *args: Any, **kwargs: Any) -> None:
            if self.stumble:
                raise RuntimeError("stumbled")

    model, trainer = Stumbles(), quiet_trainer()
    before = list(trainer.callbacks)
    with pytest.raises(RuntimeError, match="stumbled"):
        fit(model, small_pairs(), trainer=trainer)
    assert trainer.callbacks == before
    model.stumble = False
    fit(model, small_pairs(), trainer=quiet_trainer())
