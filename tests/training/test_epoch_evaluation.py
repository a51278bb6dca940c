"""Attached metrics and evaluators while a model trains: once an epoch, from the cache, alike on two processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from small_models import SmallModel, groups, pairs, quiet_trainer, small_pairs, weights

import simlearn
from simlearn import (
    AttachedMetric,
    CacheConfig,
    GroupEvaluator,
    GroupSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    RetrievalEvaluator,
    RetrievalPrecision,
    RetrievalReciprocalRank,
    RetrievalRPrecision,
    SimilarityRankingSample,
    TripletLoss,
    fit,
)
from simlearn.losses import ListwiseSoftmaxLoss
from simlearn.training import BestWeights


def search(count: int = 40, seed: int = 9, **options: Any) -> RetrievalEvaluator:
    samples = pairs(count, seed=seed)
    documents = [sample.obj_b for sample in samples]
    return RetrievalEvaluator([s.obj_a for s in samples], documents, list(range(count)), ["mrr", "recall@1"], **options)


class Evaluated(SmallModel):
    """A model with an attached metric and an evaluator; keeps what was logged."""

    def __init__(self, metrics: Any = (), evaluators: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.asked = [metrics, evaluators or {}]
        self.epochs: list[dict[str, float]] = []
        super().__init__(**options)

    def configure_metrics(self) -> Any:
        return self.asked[0]

    def configure_evaluators(self) -> Any:
        return self.asked[1]

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        if not self.trainer.sanity_checking:
            self.epochs.append({name: float(value) for name, value in self.trainer.callback_metrics.items()})


def test_evaluators_are_logged_each_epoch_and_equal_evaluate() -> None:
    evaluator = search(200)
    model = Evaluated(evaluators={"search": evaluator}, learning_rate=0.5)
    trainer = quiet_trainer(max_epochs=3)
    fit(model, small_pairs(), small_pairs(), trainer=trainer)
    assert len(model.epochs) == 3
    assert len({epoch["search_mrr"] for epoch in model.epochs}) > 1
    report = simlearn.evaluate(evaluator, model=model)
    assert model.epochs[-1]["search_mrr"] == pytest.approx(report["mrr"], abs=1e-6)
    assert model.epochs[-1]["search_recall@1"] == pytest.approx(report["recall@1"], abs=1e-6)


@pytest.mark.parametrize("on_disk", [False, True])
def test_frozen_encoders_never_see_an_object_twice(on_disk: bool, tmp_path: Path) -> None:
    evaluator = search()
    train = PairsSimilarityDataLoader(pairs(48), batch_size=16)
    cache = CacheConfig(save_dir=str(tmp_path)) if on_disk else CacheConfig()
    model = Evaluated(evaluators={"search": evaluator, "again": evaluator}, frozen=True, cache=cache)
    fit(model, train, trainer=quiet_trainer(max_epochs=4))
    assert model.model.plan.encoders["default"].encoded == 2 * 48 + 2 * 40
    expected = evaluator.evaluate(model=model)["mrr"]
    assert float(model.trainer.callback_metrics["search_mrr"]) == pytest.approx(expected, abs=1e-6)


def test_without_validation_data_they_run_after_the_epoch() -> None:
    model = Evaluated(evaluators={"search": search()})
    trainer = quiet_trainer(max_epochs=1)
    before = [module.training for module in model.modules()]
    fit(model, small_pairs(), trainer=trainer)
    assert "search_mrr" in trainer.callback_metrics
    assert [module.training for module in model.modules()] == before


def test_the_best_checkpoint_goes_by_any_figure(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(tmp_path, monitor="search_mrr", mode="max")
    stopping = EarlyStopping("search_mrr", mode="max", patience=2)
    model = Evaluated(evaluators={"search": search()}, learning_rate=0.3)
    trainer = quiet_trainer(max_epochs=8, enable_checkpointing=True, callbacks=[checkpoint, stopping])
    fit(model, small_pairs(), small_pairs(), trainer=trainer)
    assert checkpoint.best_model_score == pytest.approx(max(epoch["search_mrr"] for epoch in model.epochs), abs=1e-6)


@pytest.mark.parametrize("validated", [True, False])
def test_fit_restores_the_weights_with_the_best_figure(validated: bool) -> None:
    class Watching(Evaluated):
        def _evaluate(self) -> None:
            super()._evaluate()
            self.history.append((float(self.trainer.callback_metrics["search_mrr"]), weights(self)))

    model = Watching(evaluators={"search": search(200)}, learning_rate=1.0)
    model.history = []
    fit(model, small_pairs(), small_pairs() if validated else None, monitor="search_mrr")
    figures = [figure for figure, _ in model.history]
    best = figures.index(max(figures))
    assert best < len(figures) - 1, "this test needs a run whose last epoch is not its best"
    for name, expected in model.history[best][1].items():
        assert torch.equal(weights(model)[name], expected), name
    assert model.model.card.scores["search_mrr"] == pytest.approx(max(figures))


def test_a_figure_that_is_never_logged() -> None:
    trainer = quiet_trainer(callbacks=[BestWeights("serach_mrr")])
    with pytest.raises(ValueError, match="'serach_mrr' was never logged.*search_mrr"):
        fit(Evaluated(evaluators={"search": search()}), small_pairs(), trainer=trainer)
    with pytest.raises(ValueError, match="monitor= is for the trainer that fit makes"):
        fit(SmallModel(), small_pairs(), trainer=quiet_trainer(), monitor="search_mrr")
    assert BestWeights("v_equal_error_rate").mode == "min" and BestWeights("v_mrr").mode == "max"
    with pytest.raises(ValueError, match="mode"):
        BestWeights(mode="best")


def test_what_the_hooks_must_return() -> None:
    with pytest.raises(TypeError, match="configure_evaluators must return a dictionary"):
        fit(Evaluated(evaluators=[search()]), small_pairs(), trainer=quiet_trainer())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="evaluator 'x' must be a BaseEvaluator"):
        fit(Evaluated(evaluators={"x": 3}), small_pairs(), trainer=quiet_trainer())
    with pytest.raises(TypeError, match="configure_metrics must return AttachedMetrics"):
        Evaluated(metrics=[RetrievalPrecision()])
    with pytest.raises(ValueError, match="names of their own"):
        Evaluated(metrics=[AttachedMetric("a", RetrievalPrecision()), AttachedMetric("a", RetrievalPrecision())])


def test_attached_metrics_see_the_whole_validation_set() -> None:
    metric = RetrievalReciprocalRank()
    model = Evaluated(metrics=AttachedMetric("rr", metric))
    validation = PairsSimilarityDataLoader(pairs(50, seed=5), batch_size=4)
    trainer = quiet_trainer(max_epochs=1)
    fit(model, small_pairs(), validation, trainer=trainer)
    evaluator = simlearn.Evaluator(RetrievalReciprocalRank(), simlearn.PairSampler(log_progress=False))
    whole = evaluator.evaluate(pairs(50, seed=5), model)["RetrievalReciprocalRank"]
    assert model.epochs[0]["rr_validation"] == pytest.approx(whole, abs=1e-6)
    assert 0 < float(trainer.callback_metrics["rr_train"]) <= 1
    assert model.attached_metrics[0].metric is metric and not metric.vectors, "it keeps nothing of a finished epoch"


def test_attached_metrics_of_single_steps_and_stages() -> None:
    metrics = [
        AttachedMetric("step", RetrievalRPrecision(), on_step=True, on_epoch=False, stages=["train"]),
        AttachedMetric("late", RetrievalRPrecision(), stages=["validation"]),
    ]
    model = Evaluated(metrics=metrics, loss=TripletLoss())
    loader = GroupSimilarityDataLoader(groups(), batch_size=16, samples_per_group=4)
    trainer = quiet_trainer(max_epochs=1)
    fit(model, loader, GroupSimilarityDataLoader(groups(seed=3), batch_size=16), trainer=trainer)
    logged = set(trainer.callback_metrics)
    assert {"step_train", "late_validation"} <= logged and not {"late_train", "step_validation"} & logged


def test_attached_metrics_of_two_towers_rank_documents_for_queries() -> None:
    model = Evaluated(metrics=AttachedMetric("rr", RetrievalReciprocalRank()), two_towers=True)
    trainer = quiet_trainer(max_epochs=1)
    fit(model, small_pairs(), small_pairs(), trainer=trainer)
    samples = pairs()
    numbered = list(range(len(samples)))
    evaluator = RetrievalEvaluator([s.obj_a for s in samples], [s.obj_b for s in samples], numbered, ["mrr"])
    assert model.epochs[0]["rr_validation"] == pytest.approx(evaluator.evaluate(model=model)["mrr"], abs=1e-6)


def test_attached_metrics_refuse_rankings_at_once() -> None:
    samples = [SimilarityRankingSample(s.obj_a, [s.obj_b, s.obj_a], [1.0, 0.0]) for s in pairs()]
    model = Evaluated(metrics=AttachedMetric("rr", RetrievalReciprocalRank()), loss=ListwiseSoftmaxLoss())
    with pytest.raises(TypeError, match="attached metrics read pairs and groups, not ranking"):
        fit(model, RankingSimilarityDataLoader(samples, batch_size=8), trainer=quiet_trainer())


class Told(pl.Callback):
    """Writes down the figures of each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs: list[dict[str, float]] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.epochs.append({name: float(value) for name, value in trainer.callback_metrics.items()})
            path = self.folder / f"{trainer.world_size}-{trainer.global_rank}.json"
            path.write_text(json.dumps([self.epochs, pl_module.model.plan.encoders["default"].encoded]))


@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_two_processes_log_the_figures_of_one(kind: str, cached: bool, tmp_path: Path) -> None:
    metric: Any = RetrievalReciprocalRank() if kind == "pairs" else RetrievalRPrecision()

    def run(processes: int) -> None:
        options = {"frozen": cached, "cache": CacheConfig() if cached else None}
        if kind == "pairs":
            evaluators: Any = {"search": search(31)}
            train: Any = PairsSimilarityDataLoader(pairs(64), batch_size=16 // processes)
            validation: Any = PairsSimilarityDataLoader(pairs(21, seed=5), batch_size=3)
        else:
            evaluators = {"groups": GroupEvaluator(groups(33, 3, seed=8))}
            train = GroupSimilarityDataLoader(groups(64), batch_size=16 // processes, samples_per_group=4)
            validation = GroupSimilarityDataLoader(groups(24, seed=5), batch_size=3)
            options["loss"] = TripletLoss()
        model = Evaluated(AttachedMetric("metric", metric), evaluators, **options).double()
        strategy = "ddp_fork" if processes > 1 else "auto"
        trainer = quiet_trainer(
            devices=processes, strategy=strategy, precision="64-true", callbacks=[Told(tmp_path)], max_epochs=2
        )
        fit(model, train, validation, trainer=trainer)

    run(1)
    run(2)
    expected, encoded = json.loads((tmp_path / "1-0.json").read_text())
    shares = [json.loads((tmp_path / f"2-{rank}.json").read_text()) for rank in range(2)]
    for epochs, _ in shares:
        for one, other in zip(expected, epochs, strict=True):
            names = [name for name in one if name.startswith(("metric", "search", "groups"))]
            assert len(names) >= 3
            assert {name: other[name] for name in names} == pytest.approx({n: one[n] for n in names}, abs=1e-6)
    if cached:
        assert sum(own for _, own in shares) == encoded, "the processes share the encoding"
