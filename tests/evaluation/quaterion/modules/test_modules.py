"""Metrics over batches and processes: right where Quaterion's were not, and the same however they are fed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from processes import run_on_two
from torch import Tensor

from simlearn.evaluation.quaterion import modules
from simlearn.evaluation.quaterion.modules import (
    BaseMetric,
    KNNAccuracy,
    PairScoreMetric,
    RankingMetric,
    RetrievalMAP,
    RetrievalMAPAtR,
    RetrievalNDCG,
    RetrievalPrecision,
    RetrievalRecall,
    RetrievalReciprocalRank,
    RetrievalRPrecision,
)

OF_RANKINGS: dict[type[BaseMetric], Any] = {
    RankingMetric: lambda: RankingMetric("map@10"),
    RetrievalPrecision: lambda: RetrievalPrecision(3),
    RetrievalRecall: lambda: RetrievalRecall(4),
    RetrievalReciprocalRank: RetrievalReciprocalRank,
    RetrievalRPrecision: lambda: RetrievalRPrecision("euclidean"),
    RetrievalMAP: RetrievalMAP,
    RetrievalMAPAtR: RetrievalMAPAtR,
    RetrievalNDCG: RetrievalNDCG,
}
FACTORIES: dict[type[BaseMetric], Any] = {**OF_RANKINGS, KNNAccuracy: lambda: KNNAccuracy(3), PairScoreMetric: None}


def groups_batch(seed: int, size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    groups = torch.randint(0, 6, (size,), generator=generator)
    return {"embeddings": torch.randn(size, 4, generator=generator) + groups[:, None] * 0.3, "groups": groups}


def pairs_batch(seed: int, size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(size)
    first = torch.randn(size, 4, generator=generator)
    labels = torch.randint(0, 3, (size,), generator=generator).float()
    return {
        "embeddings": torch.cat([first, first + torch.randn(size, 4, generator=generator)]),
        "labels": labels,
        "pairs": torch.stack([rows, rows + size], dim=1),
        "subgroups": torch.zeros(2 * size),
        "ids": torch.randint(0, 3 * size, (2 * size,), generator=generator) + 1000 * seed,
    }


def together(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One batch that holds several."""
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    if "pairs" in joined:
        starts = [0]
        for batch in batches[:-1]:
            starts.append(starts[-1] + len(batch["embeddings"]))
        joined["pairs"] = torch.cat([batch["pairs"] + at for batch, at in zip(batches, starts, strict=True)])
    return joined


def test_no_module_is_forgotten() -> None:
    assert {getattr(modules, name) for name in modules.__all__} - {BaseMetric} == set(FACTORIES)


@pytest.mark.parametrize("cls", [cls for cls in FACTORIES if cls is not PairScoreMetric], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("make", [groups_batch, pairs_batch])
def test_batches_add_up(cls: type[BaseMetric], make: Any) -> None:
    if cls is KNNAccuracy and make is pairs_batch:
        pytest.skip("takes groups")
    batches = [make(0, 9), make(1, 1), make(2, 14)]
    metric: BaseMetric = FACTORIES[cls]()
    for batch in batches:
        metric.update(**batch)
    whole: BaseMetric = FACTORIES[cls]()
    value = whole(**together(batches))
    assert metric.compute() == value == whole.evaluate()
    assert 0 < value < 1
    metric.reset()
    metric.update(**batches[2])
    alone: BaseMetric = FACTORIES[cls]()
    assert metric.compute() == alone(**batches[2])


def in_process(kind: str, batches: list[dict[str, Tensor]]) -> float:
    metric = PairScoreMetric("roc_auc") if kind == "auc" else RankingMetric("ndcg@7")
    for batch in batches:
        metric.update(**batch)
    return float(metric.compute())


@pytest.mark.parametrize(("kind", "make"), [("ranking", groups_batch), ("ranking", pairs_batch), ("auc", pairs_batch)])
@pytest.mark.parametrize("shares", [(2, 1), (3, 0)])
def test_two_processes_have_the_figure_of_one(kind: str, make: Any, shares: tuple[int, int]) -> None:
    batches = [make(0, 9), make(1, 5), make(2, 14)]
    expected = in_process(kind, batches)
    assert run_on_two(in_process, [kind, batches[: shares[0]]], [kind, batches[shares[0] :]]) == [expected] * 2


def test_reciprocal_rank_counts_the_first_similar_object_alone() -> None:
    angles = torch.tensor([0.0, 0.1, 0.2, 0.4])
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    metric = RetrievalReciprocalRank(reduce_func=None)
    metric.update(embeddings, groups=torch.tensor([0, 1, 0, 2]))
    values = metric.compute()
    assert values[[0, 2]].tolist() == [0.5, 0.5] and values[[1, 3]].isnan().all() and metric.undefined == 2


def test_r_precision_is_the_mean_over_objects_not_over_places() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.01, 1.0], [0.02, 1.0], [-1.0, 0.0]])
    metric = RetrievalRPrecision()
    assert metric(embeddings, groups=torch.tensor([0, 0, 1, 1, 1, 2])) == 1.0  # a group of one is left out
    assert metric.undefined == 1


def test_a_repeated_object_is_one_object_by_its_ids() -> None:
    question, answers = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.9, 0.1], [0.9, -0.1], [0.8, 0.2]])
    batch = {
        "embeddings": torch.cat([question.repeat(3, 1), answers]),
        "labels": torch.ones(3),
        "pairs": torch.tensor([[0, 3], [1, 4], [2, 5]]),
    }
    metric = RetrievalMAPAtR(reduce_func=None)
    metric.update(**batch, ids=torch.tensor([7, 7, 7, 1, 2, 3]))
    assert metric.compute()[0] == 1.0  # the question finds its three answers, and not itself
    without = RetrievalMAPAtR(reduce_func=None)
    without.update(**batch)
    assert without.compute()[0] == 0.0


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "best_f1", "equal_error_rate", "spearman"])
def test_pair_scores(name: str) -> None:
    metric = PairScoreMetric(name)
    for seed in range(3):
        metric.update(**pairs_batch(seed, 20))
    assert 0 < metric.compute() < 1


def test_what_does_not_fit() -> None:
    metric = RetrievalPrecision()
    with pytest.raises(ValueError, match="groups, or labels and pairs"):
        metric.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"groups must have the shape \(2,\)"):
        metric.update(torch.ones(2, 3), groups=torch.zeros(3))
    metric.update(**groups_batch(0, 4))
    metric.update(**pairs_batch(0, 4))
    with pytest.raises(ValueError, match="groups and pairs"):
        metric.compute()
    with pytest.raises(ValueError, match="labels and pairs"):
        PairScoreMetric("roc_auc")(**groups_batch(0, 4))
    with pytest.raises(ValueError, match="unknown metric"):
        PairScoreMetric("auc")


def test_pure_metrics_load_no_torchmetrics() -> None:
    code = "import simlearn.evaluation, simlearn.evaluation.pairs.metrics, sys; print('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_batch_by_itself_leaves_what_was_seen_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    metric, groups = RetrievalRPrecision(), torch.arange(12) // 3
    first, second = torch.randn(12, 4, generator=generator), torch.randn(12, 4, generator=generator)
    metric.update(first, groups=groups)
    alone = RetrievalRPrecision()
    assert torch.equal(metric.measure_batch(second, groups=groups), alone(second, groups=groups))
    alone.reset()
    assert torch.equal(metric.compute(), alone(first, groups=groups))


def test_distinguish_ranks_second_objects_for_first_ones() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.5], [1.0, -0.9]])
    targets = {"labels": torch.ones(2), "pairs": torch.tensor([[0, 2], [1, 3]])}
    metric = RetrievalPrecision(k=1, reduce_func=None)
    assert metric(embeddings, **targets).tolist() == [0.0, 0.0, 0.0, 0.0]
    metric.distinguish = True
    metric.reset()
    assert metric(embeddings, **targets).tolist() == [1.0, 0.0]
