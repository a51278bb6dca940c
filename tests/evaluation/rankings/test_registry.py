"""Names of metrics, and what is reported of them."""

from __future__ import annotations

import math

import pytest
import torch

from simlearn.evaluation import Figure, retrieval_metric, retrieval_metrics


@pytest.mark.parametrize(
    ("given", "name", "depth"),
    [
        ("recall@10", "recall@10", 10),
        (" NDCG@5 ", "ndcg@5", 5),
        ("cmc@1", "hit_rate@1", 1),
        ("mrr", "mrr", 100),
        ("MAP@R", "map@r", 7),
        ("r_precision", "r_precision", 7),
        ("ndcg_exp@1000", "ndcg_exp@1000", 100),
    ],
)
def test_names(given: str, name: str, depth: int) -> None:
    metric = retrieval_metric(given)
    assert metric.name == name and metric.depth(most_relevant=7, n_documents=100) == depth


@pytest.mark.parametrize("name", ["recal@10", "recall", "recall@0", "recall@", "recall@x", "r_precision@3", "map@r@3"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="metric|cut-off"):
        retrieval_metric(name)


def test_one_metric_twice() -> None:
    assert [metric.name for metric in retrieval_metrics(["mrr", "mrr@10"])] == ["mrr", "mrr@10"]
    with pytest.raises(ValueError, match="more than once: hit_rate@1"):
        retrieval_metrics(["cmc@1", "hit_rate@1"])


def test_a_figure_counts_what_it_leaves_out() -> None:
    values = torch.tensor([1.0, math.nan, 0.0, 0.5], dtype=torch.float64)
    assert Figure.of(values) == Figure(0.5, 3, 1)
    assert Figure.of(values, undefined="zero") == Figure(0.375, 4, 1)
    nothing = Figure.of(values[1:2])
    assert math.isnan(nothing.value) and nothing.n == 0 and nothing.undefined == 1
