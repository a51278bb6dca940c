"""Batches on their way to the model."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simlearn.data.batch import Batch, BatchCollator, SampleTable, collate_samples
from simlearn.data.columns import concatenate
from simlearn.data.kinds import GroupKind, LabelKind, PairKind, RankingKind, SampleKind
from simlearn.ragged import Ragged
from simlearn.relations import Relation
from simlearn.samples import (
    SimilarityGroupSample,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
)
from simlearn.towers.inputs import CachedRows, Inputs
from simlearn.towers.plan import Part, TowerCollator

WORDS = st.sampled_from("red green blue spoon fork knife cat dog".split())
NAMES = st.one_of(st.integers(0, 3), st.sampled_from(["p", "q"]))
SCORES = st.sampled_from([1.0, 0.0, 0.5, -1.0])
RANKINGS = st.lists(st.tuples(WORDS, SCORES), max_size=4).map(lambda rows: ([d for d, _ in rows], [r for _, r in rows]))
SAMPLES: list[tuple[SampleKind, Any]] = [
    (PairKind(), st.builds(SimilarityPairSample, WORDS, WORDS, SCORES, NAMES)),
    (GroupKind(), st.builds(SimilarityGroupSample, WORDS, NAMES)),
    (LabelKind(), st.builds(SimilarityLabelSample, WORDS, st.lists(NAMES, max_size=3))),
    (RankingKind(), st.builds(lambda query, rest: SimilarityRankingSample(query, *rest), WORDS, RANKINGS)),
]


def lengths(objects: list[str]) -> torch.Tensor:
    return torch.tensor([len(obj) for obj in objects], dtype=torch.long)


TOWER = TowerCollator((Part("text", "text"),), (lengths,), (None,))


class Known:
    """A cache of words: their rows, in the order in which they came."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}

    def __call__(self, objects: list[str]) -> CachedRows:
        numbers = [self.rows.setdefault(obj, len(self.rows)) for obj in objects]
        return CachedRows(torch.tensor(numbers, dtype=torch.long))


def table_of(kind: SampleKind, samples: list[Any], known: Known, two_towers: bool, run: int) -> SampleTable:
    """A table, made of runs of samples as a cache makes it."""
    runs = [samples[start : start + run] for start in range(0, len(samples), run)]
    columns = concatenate([{**kind.labels(one), **kind.ids(one)} for one in runs])
    documents, counts = kind.documents(samples)
    rows = {} if kind.shared else {"text": Ragged.of_lengths(known(documents).rows, counts)}
    return SampleTable(kind, columns, {"text": known(kind.queries(samples)).rows}, rows, two_towers)


def columns_of(relation: Relation) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in vars(relation).items()
    }


@pytest.mark.parametrize("two_towers", [False, True])
@pytest.mark.parametrize(("kind", "strategy"), SAMPLES, ids=lambda value: type(value).__name__.lstrip("_"))
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_table_gives_the_batches_of_its_samples(
    kind: SampleKind, strategy: Any, two_towers: bool, data: st.DataObject
) -> None:
    if two_towers and kind.shared:
        return
    samples = data.draw(st.lists(strategy, min_size=1, max_size=10))
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), min_size=1, max_size=12))
    known = Known()
    table = table_of(kind, samples, known, two_towers, run=data.draw(st.integers(1, 10)))
    assert len(table) == len(samples)
    lookups = {"text": known}
    collate = BatchCollator(kind, TOWER, TOWER if two_towers else None, None, lookups, lookups)
    expected, batch = collate([samples[row] for row in rows]), table.batch(torch.tensor(rows))
    assert columns_of(batch.relation) == columns_of(expected.relation)
    assert batch.size == expected.size == len(rows)
    assert torch.equal(batch.query.features["text"].rows, expected.query.features["text"].rows)
    assert (batch.document is None) == (expected.document is None) == (not two_towers)
    if batch.document is not None and expected.document is not None:
        assert torch.equal(batch.document.features["text"].rows, expected.document.features["text"].rows)
        assert batch.document.size == expected.document.size


def test_one_tower_reads_queries_and_then_documents() -> None:
    batch = BatchCollator(PairKind(), TOWER)([SimilarityPairSample("a", "bb"), SimilarityPairSample("ccc", "dddd")])
    assert batch.query.features["text"].tolist() == [1, 3, 2, 4]
    assert batch.document is None
    assert batch.relation.one_space
    shared = BatchCollator(GroupKind(), TOWER)([SimilarityGroupSample("a", 0), SimilarityGroupSample("bb", 0)])
    assert shared.query.features["text"].tolist() == [1, 2]


def test_two_towers_read_their_own() -> None:
    sample = SimilarityRankingSample("a", ["bb", "ccc"], [1.0, 0.0])
    batch = BatchCollator(RankingKind(), TOWER, TOWER)([sample])
    assert batch.query.features["text"].tolist() == [1]
    assert batch.document is not None
    assert batch.document.features["text"].tolist() == [2, 3]
    assert not batch.relation.one_space


def refuse(relation: Relation) -> None:
    raise ValueError("the loss cannot use this")


def test_labels_are_checked_where_they_are_collated() -> None:
    samples = [SimilarityPairSample("a", "b")]
    with pytest.raises(ValueError, match="the loss cannot use this"):
        BatchCollator(PairKind(), TOWER, check=refuse)(samples)
    columns = {**PairKind().labels(samples), **PairKind().ids(samples)}
    rows = torch.zeros(1, dtype=torch.long)
    table = SampleTable(PairKind(), columns, {"text": rows}, {"text": Ragged.from_lists([[0]])}, False, refuse)
    with pytest.raises(ValueError, match="the loss cannot use this"):
        table.batch(rows)


def test_collators_and_batches_travel_to_workers() -> None:
    collate = pickle.loads(pickle.dumps(BatchCollator(PairKind(), TOWER, TOWER, refuse)))
    assert collate.check is refuse
    batch = BatchCollator(PairKind(), TOWER, TOWER)([SimilarityPairSample("a", "bb")])
    copy = pickle.loads(pickle.dumps(batch))
    assert columns_of(copy.relation) == columns_of(batch.relation)
    assert copy.document.features["text"].tolist() == [2]


def test_moving_a_batch() -> None:
    batch = BatchCollator(PairKind(), TOWER, TOWER)([SimilarityPairSample("a", "bb")]).to("meta")
    assert batch.document is not None
    assert {batch.query.features["text"].device.type, batch.document.features["text"].device.type} == {"meta"}
    assert batch.relation.device.type == "meta"
    assert batch.size == 1


def test_pinning_reaches_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page-locked memory needs a GPU; that every tensor is asked for it does not."""
    pinned: list[torch.Tensor] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    collate = TowerCollator((Part("text", "text"),), (lambda texts: {"ids": lengths(texts), "texts": texts},), (None,))
    batch = BatchCollator(PairKind(), collate, TOWER)([SimilarityPairSample("a", "bb", subgroup=3)])
    copy = batch.pin_memory()
    assert isinstance(copy, Batch)
    assert copy.query.features["text"]["texts"] == ["a"]
    tensors = [value for value in vars(batch.relation).values() if isinstance(value, torch.Tensor)]
    assert len(pinned) == len(tensors) + 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinned_memory() -> None:
    batch = BatchCollator(PairKind(), TOWER, TOWER)([SimilarityPairSample("a", "bb")]).pin_memory()
    assert batch.query.features["text"].is_pinned()
    assert batch.relation.judged_queries.is_pinned()


def test_collating_costs_microseconds() -> None:
    samples = [SimilarityPairSample(f"a text of a few words, number {i}", f"an answer to it, {i}") for i in range(1024)]
    best = min(_seconds(samples) for _ in range(10))
    assert best / 2048 < 5e-6  # one, where nothing else runs


def _seconds(samples: list[SimilarityPairSample]) -> float:
    start = time.process_time()
    collate_samples(PairKind(), samples)
    return time.process_time() - start


def test_other_targets_are_no_relation() -> None:
    with pytest.raises(TypeError, match="a relation is needed, this batch has Tensor as targets"):
        Batch(Inputs({}, {}, 2), None, torch.zeros(2), 2).relation  # type: ignore[arg-type]  # noqa: B018
