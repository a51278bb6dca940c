from __future__ import annotations

import pytest
import torch

from simlearn.embeddings import Embeddings
from simlearn.negatives.mining import MiningConfig, mine
from simlearn.ragged import Ragged


def oracle(scores: torch.Tensor, positives: list[list[int]], config: MiningConfig) -> list[list[int]]:
    """Plain loops, the nearest only."""
    pick = {"lowest": min, "highest": max, "mean": lambda values: sum(values) / len(values)}[config.margin_from]
    chosen = []
    for row, own in enumerate(positives):
        reference = pick([float(scores[row, one]) for one in own]) if own else None
        order = sorted((j for j in range(scores.shape[1]) if j not in own), key=lambda j: (-float(scores[row, j]), j))
        kept = []
        for document in order[config.range_min : config.depth]:
            score = float(scores[row, document])
            if config.max_score is not None and score > config.max_score:
                continue
            if config.min_score is not None and score < config.min_score:
                continue
            ceilings = [torch.inf]
            if reference is not None and config.absolute_margin is not None:
                ceilings.append(reference - config.absolute_margin)
            if reference is not None and config.relative_margin is not None:
                ceilings.append(reference - config.relative_margin * abs(reference))
            if score <= min(ceilings):
                kept.append(document)
        chosen.append(kept[: config.num_negatives])
    return chosen


def data(seed: int = 0) -> tuple[Embeddings, Embeddings, list[list[int]], torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    queries, documents = (torch.randn(n, 6, generator=random, dtype=torch.double) for n in (17, 60))
    positives = [sorted(torch.randperm(60, generator=random)[: row % 4].tolist()) for row in range(17)]
    normal = torch.nn.functional.normalize
    return Embeddings(queries), Embeddings(documents), positives, normal(queries) @ normal(documents).T


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_negatives": 5, "range_min": 2},
        {"range_min": 3, "range_max": 20, "max_score": 0.5},
        {"min_score": 0.1, "max_score": 0.6, "range_max": 60},
        {"absolute_margin": 0.1},
        {"relative_margin": 0.3, "margin_from": "highest"},
        {"relative_margin": 0.3, "absolute_margin": 0.05, "margin_from": "mean"},
        {"num_negatives": 100, "range_max": 200},
    ],
)
def test_what_is_taken_is_what_plain_loops_take(options: dict[str, object]) -> None:
    queries, documents, positives, scores = data()
    config = MiningConfig(**options)  # type: ignore[arg-type]
    mined = mine(queries, documents, Ragged.from_lists(positives), config)
    found = [[row for row in rows if row >= 0] for rows in mined.rows.tolist()]
    assert found == oracle(scores, positives, config)
    assert mined.rows.shape == (17, config.num_negatives)
    assert bool((mined.scores.isneginf() == (mined.rows < 0)).all())


def test_what_is_dropped_is_counted_by_the_first_rule() -> None:
    queries = Embeddings(torch.tensor([[1.0, 0.0]]))
    angles = torch.tensor([0.0, 0.1, 0.5, 0.8, 1.2, 1.5])
    documents = Embeddings(torch.stack([angles.cos(), angles.sin()], 1))
    config = MiningConfig(2, range_min=1, range_max=5, max_score=0.8, min_score=0.2, relative_margin=0.5)
    mined = mine(queries, documents, Ragged.from_lists([[0]]), config)
    assert mined.rows.tolist() == [[4, -1]]  # cosine 0.36; 0.07 is too low, 0.70 above half of 1
    assert mined.dropped.tolist() == [1, 1, 1, 1]


def test_chance_depends_on_seed_round_and_query_alone() -> None:
    queries, documents, positives, _ = data()
    lists = Ragged.from_lists(positives)
    config = MiningConfig(4, sampling_strategy="random", range_max=30, seed=7)
    whole = mine(queries, documents, lists, config)
    parts = []
    for start, stop in ((0, 5), (5, 17)):
        cut = Ragged.from_lists(positives[start:stop])
        parts.append(mine(queries.take(slice(start, stop)), documents, cut, config, first_query=start).rows)
    assert torch.equal(torch.cat(parts), whole.rows)
    assert not torch.equal(mine(queries, documents, lists, config, round_number=1).rows, whole.rows)
    assert bool((whole.scores.diff(dim=1) <= 0).all()), "nearest first"
    other = MiningConfig(4, sampling_strategy="random", range_max=30, seed=2**62)
    assert not torch.equal(mine(queries, documents, lists, other).rows, whole.rows)


def test_chance_takes_each_of_the_range_as_often() -> None:
    queries = Embeddings(torch.ones(4000, 2))
    documents = Embeddings(torch.stack([torch.ones(10), torch.linspace(1, 2, 10)], 1))
    config = MiningConfig(2, sampling_strategy="random", range_max=10)
    nothing = Ragged.from_lists([[] for _ in range(4000)])
    counts = torch.bincount(mine(queries, documents, nothing, config).rows.flatten(), minlength=10)
    assert int(counts.min()) > 680 and int(counts.max()) < 920  # 800 each, 4 deviations of 27 to a side


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_negatives": 0}, "num_negatives must be at least 1"),
        ({"range_min": -1}, "range_min must be 0 or more"),
        ({"range_min": 5, "range_max": 6}, "raise range_max"),
        ({"min_score": 0.5, "max_score": 0.5}, "no score is above"),
        ({"relative_margin": 1.0}, "relative_margin must be a share"),
        ({"sampling_strategy": "best"}, "sampling_strategy must be one of top, random"),
        ({"margin_from": "first"}, "margin_from must be one of"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_options_that_leave_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MiningConfig(**options)  # type: ignore[arg-type]


def test_nan_is_refused() -> None:
    queries, documents, positives, _ = data()
    documents.values[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        mine(queries, documents, Ragged.from_lists(positives), MiningConfig())
