"""The recipe for batches that users write."""

from __future__ import annotations

from typing import Any

import datasets
import pandas as pd
import pytest
from torch.utils.data import BatchSampler, IterableDataset, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from simlearn import (
    GroupBatchSampler,
    GroupSimilarityDataLoader,
    PairsSimilarityDataLoader,
    SimilarityDataLoader,
    SimilarityPairSample,
)
from simlearn.data.batch import SampleBatch

PAIRS = [SimilarityPairSample(f"q{number}", f"d{number}") for number in range(10)]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(PAIRS)


def test_iterated_by_itself_it_gives_raw_objects() -> None:
    loader = PairsSimilarityDataLoader(PAIRS, 4)
    assert len(loader) == 3
    for _ in range(2):
        batches = list(loader)
        assert [type(batch) for batch in batches] == [SampleBatch] * 3
        assert [batch.queries for batch in batches][2] == ["q8", "q9"]
        assert [document for batch in batches for document in batch.documents] == [pair.obj_b for pair in PAIRS]
        assert batches[0].relation.n_queries == 4
    shuffled = PairsSimilarityDataLoader(PAIRS, 4, shuffle=True)
    assert [batch.queries for batch in shuffled] == [batch.queries for batch in shuffled]
    assert [batch.queries for batch in shuffled] != [batch.queries for batch in loader]


def test_a_stream_has_no_length() -> None:
    loader = PairsSimilarityDataLoader(Stream(), 4)
    assert loader.is_stream
    assert [len(batch.queries) for batch in loader] == [4, 4, 2]
    with pytest.raises(TypeError, match=r"PairsSimilarityDataLoader\(a stream, batch_size=4\) has no length"):
        len(loader)


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame({"q": ["a", "b"], "d": ["A", "B"], "s": [1, 0]}),
        datasets.Dataset.from_dict({"q": ["a", "b"], "d": ["A", "B"], "s": [1, 0]}),
        datasets.Dataset.from_dict({"q": ["a", "b"], "d": ["A", "B"], "s": [1, 0]}).to_iterable_dataset(),
        [{"q": "a", "d": "A", "s": 1}, {"q": "b", "d": "B", "s": 0}],
    ],
    ids=lambda data: type(data).__name__,
)
def test_rows_of_any_kind(data: Any) -> None:
    (batch,) = PairsSimilarityDataLoader(data, 8, obj_a="q", obj_b="d", score="s")
    assert (batch.queries, batch.documents) == (["a", "b"], ["A", "B"])
    assert batch.relation.paired_scores().tolist() == [1.0, 0.0]


def test_repr_says_what_it_reads() -> None:
    assert repr(PairsSimilarityDataLoader(PAIRS, 4)) == "PairsSimilarityDataLoader(10 samples, batch_size=4)"
    assert repr(PairsSimilarityDataLoader(Stream())) == "PairsSimilarityDataLoader(a stream, batch_size=32)"
    sampler = BatchSampler(SequentialSampler(PAIRS), 3, drop_last=False)
    assert "BatchSampler" in repr(PairsSimilarityDataLoader(PAIRS, batch_sampler=sampler))


def test_samplers_of_torch_and_of_ours() -> None:
    loader = PairsSimilarityDataLoader(PAIRS, 2, sampler=[3, 1, 2])
    assert [batch.queries for batch in loader] == [["q3", "q1"], ["q2"]]
    loader = PairsSimilarityDataLoader(PAIRS, batch_sampler=[[3, 1, 2], [0]])
    assert [batch.queries for batch in loader] == [["q3", "q1", "q2"], ["q0"]]
    assert len(loader) == 2
    ours = GroupBatchSampler([0] * 4 + [1] * 6, 2, 2)
    assert PairsSimilarityDataLoader(PAIRS, batch_sampler=ours).epoch_plan(True) is ours


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"seed": -1}, ValueError, "seed must be 0 or more, got -1"),
    ({"collate_fn": list}, TypeError, r"has no option \['collate_fn'\]; it passes \['generator'"),
    ({"shuffle": True, "sampler": [1]}, ValueError, "a sampler decides the order by itself"),
    ({"shuffle": True, "batch_sampler": [[1]]}, ValueError, "a sampler decides the order by itself"),
    ({"sampler": [1], "batch_sampler": [[1]]}, ValueError, "a sampler or a batch_sampler, not both"),
    ({"sharded": True}, ValueError, "sharded=True is for streams"),
    ({"dataset": []}, ValueError, "the data set is empty"),
    ({"dataset": Stream(), "shuffle": True}, ValueError, "a stream comes in its own order; shuffle inside it"),
    ({"dataset": Stream(), "sampler": [1]}, ValueError, "a stream comes in its own order"),
    ({"prefetch_factor": 2}, ValueError, "prefetch_factor"),
    ({"multiprocessing_context": "spawn"}, ValueError, "multiprocessing_context"),
    ({"num_workers": -1}, ValueError, "num_workers"),
    ({"dataset": iter(PAIRS)}, TypeError, "can be read only once"),
    ({"obj_a": "text"}, ValueError, "needs the columns obj_a=, obj_b="),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PairsSimilarityDataLoader(**{"dataset": PAIRS, **options})


def test_a_sampler_of_one_share_is_refused_when_bound() -> None:
    loader = PairsSimilarityDataLoader(PAIRS, sampler=DistributedSampler(PAIRS, 2, 0))
    with pytest.raises(ValueError, match="DistributedSampler yields the samples of one process only"):
        loader.bind(list, training=True)


def test_the_base_names_the_loaders() -> None:
    with pytest.raises(TypeError, match="use the loader of your kind of samples: PairsSimilarityDataLoader, Group"):
        SimilarityDataLoader(PAIRS)


def test_samples_of_another_kind_are_found_at_the_first_batch() -> None:
    with pytest.raises(TypeError, match="load it with PairsSimilarityDataLoader"):
        list(GroupSimilarityDataLoader(PAIRS))
