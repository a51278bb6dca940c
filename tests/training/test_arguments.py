"""What `fit` refuses, each with an error that names cause and cure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_models import SmallModel, groups, numbers, pairs, quiet_trainer, small_pairs
from torch.utils.data import IterableDataset

from simlearn import (
    ContrastiveLoss,
    Distance,
    DotScorer,
    EmptyHead,
    GroupSimilarityDataLoader,
    MLPHead,
    PairsSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityPairSample,
    SoftmaxLoss,
    TrainableModel,
    TripletLoss,
    fit,
)


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
        "SoftmaxLoss learns from groups or labels, PairsSimilarityDataLoader gives pairs",
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
