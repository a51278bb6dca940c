"""Where samples come from."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from simlearn.data.kinds import GroupKind, PairKind
from simlearn.data.sources import MapSource, SampleReader, StreamSource, source_of
from simlearn.samples import SimilarityGroupSample, SimilarityPairSample

ROWS = [{"text": f"t{i}", "kind": i % 3, "title": f"T{i}"} for i in range(7)]
SAMPLES = [SimilarityGroupSample(row["text"], row["kind"]) for row in ROWS]
READY = SampleReader(GroupKind(), {})
NAMED = SampleReader(GroupKind(), {"obj": "text", "group": "kind"})
Row = namedtuple("Row", ["text", "kind"])


class Numbered(Dataset[Any]):
    """A data set that counts what is read of it."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.items[index]


class Many(Numbered):
    """One that reads many rows at once."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        self.read.append(len(indices))
        return [self.items[index] for index in indices]


class Stream(IterableDataset[Any]):
    """A stream that starts anew."""

    def __iter__(self) -> Iterator[Any]:
        return iter(SAMPLES)


def frame(**options: Any) -> pd.DataFrame:
    return pd.DataFrame(ROWS, **options)


MAPS = [
    (SAMPLES, READY),
    (tuple(SAMPLES), READY),
    (Numbered(SAMPLES), READY),
    (Many(SAMPLES), READY),
    (Subset(Numbered(SAMPLES), range(7)), READY),
    (pd.Series(SAMPLES, index=list("gfedcba")), READY),
    (ROWS, NAMED),
    ([Row(row["text"], row["kind"]) for row in ROWS], NAMED),
    ([(row["text"], row["kind"]) for row in ROWS], SampleReader(GroupKind(), {"obj": 0, "group": -1})),
    (
        np.array([[row["text"], row["kind"]] for row in ROWS], dtype=object),
        SampleReader(GroupKind(), {"obj": 0, "group": 1}),
    ),
    (frame(), NAMED),
    (frame().set_index("title").sort_index(ascending=True), NAMED),
    (frame(index=range(70, 0, -10)), NAMED),
    (frame().rename(columns={"text": 0, "kind": 5}), SampleReader(GroupKind(), {"obj": 0, "group": 5})),
    (frame(), SampleReader(GroupKind(), {"obj": lambda row: row["text"], "group": lambda row: row["kind"]})),
    (frame().astype({"text": "category"}), NAMED),
    (datasets.Dataset.from_list(ROWS), NAMED),
    (
        datasets.Dataset.from_list(ROWS).select(range(7)),
        SampleReader(GroupKind(), {"obj": "text", "group": lambda row: row["kind"]}),
    ),
]


@pytest.mark.parametrize(("data", "reader"), MAPS, ids=lambda value: type(value).__name__)
def test_samples_by_number(data: Any, reader: SampleReader) -> None:
    source = source_of(data, reader)
    assert isinstance(source, MapSource)
    assert len(source) == 7
    assert list(source) == SAMPLES
    assert source[np.int64(3)] == SAMPLES[3]
    assert type(source[3].group) is int
    assert source.__getitems__([5, 1]) == [SAMPLES[5], SAMPLES[1]]
    assert list(source.values("group")) == [sample.group for sample in SAMPLES]
    assert list(source.values("obj")) == [sample.obj for sample in SAMPLES]


@pytest.mark.parametrize(
    "data", [Stream(), dict.fromkeys(range(3)).values(), datasets.Dataset.from_list(ROWS).to_iterable_dataset()]
)
def test_samples_of_a_stream(data: Any) -> None:
    reader = READY if isinstance(data, Stream) else NAMED
    source = source_of(data, reader)
    assert isinstance(source, StreamSource)
    if not isinstance(data, type({}.values())):
        assert list(source) == list(source) == SAMPLES
        assert list(source.values("group")) == [sample.group for sample in SAMPLES]
    source.set_epoch(3)


def test_streams_are_told_the_epoch() -> None:
    class Told(Stream):
        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    told = Told()
    source = source_of(told, READY)
    assert isinstance(source, StreamSource)
    source.set_epoch(4)
    assert told.epoch == 4


def test_several_columns_make_a_dictionary() -> None:
    reader = SampleReader(PairKind(), {"obj_a": ("text", "title"), "obj_b": "kind"})
    for data in (ROWS, frame(), datasets.Dataset.from_list(ROWS)):
        assert source_of(data, reader)[1] == SimilarityPairSample({"text": "t1", "title": "T1"}, 1)  # type: ignore[index]


def test_named_columns_are_read_from_samples_too() -> None:
    pairs = [SimilarityPairSample("a", "b", subgroup=3)]
    source = source_of(pairs, SampleReader(GroupKind(), {"obj": "obj_b", "group": lambda pair: pair.subgroup}))
    assert list(source) == [SimilarityGroupSample("b", 3)]


def test_groups_alone_are_read_where_that_is_possible() -> None:
    def explode(row: Any) -> Any:
        raise AssertionError("only the group is asked for")

    reader = SampleReader(GroupKind(), {"obj": explode, "group": "kind"})
    kinds = [row["kind"] for row in ROWS]
    for data in (ROWS, frame(), datasets.Dataset.from_list(ROWS), iter_rows()):
        assert list(source_of(data, reader).values("group")) == kinds


def iter_rows() -> IterableDataset[Any]:
    return datasets.Dataset.from_list(ROWS).to_iterable_dataset()


def test_only_named_columns_of_a_frame_are_kept() -> None:
    source = source_of(frame(), NAMED)
    assert isinstance(source, MapSource)
    assert sorted(source.data.columns) == ["kind", "text"]


def test_nothing_is_read_ahead_of_what_is_asked() -> None:
    data = Numbered(SAMPLES)
    next(iter(source_of(data, READY)))
    assert data.read == [0]
    many = Many(SAMPLES * 30)
    assert len(list(source_of(many, READY))) == 210
    assert len(many.read) < 10, "many at once, where the data set can"


@pytest.mark.parametrize("error", [IndexError, KeyError, AttributeError, StopIteration, RuntimeError])
@pytest.mark.parametrize("base", [Numbered, Many])
def test_errors_of_a_data_set_are_not_its_end(error: type[Exception], base: Any) -> None:
    class Broken(base):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            if index == 5:
                raise error("of the data set")
            return self.items[index]

        def __getitems__(self, indices: list[int]) -> Any:
            return [self[index] for index in indices]

    if base is Numbered:
        del Broken.__getitems__
    source = source_of(Broken(SAMPLES), READY)
    expected = RuntimeError if error is StopIteration else error
    with pytest.raises(expected) as caught:
        list(source)
    assert "of the data set" in str(caught.value) or "StopIteration for the samples" in str(caught.value)
    with pytest.raises(expected):
        source.__getitems__([1, 5])  # type: ignore[union-attr]


def generator() -> Iterator[Any]:
    yield from SAMPLES


class Once(IterableDataset[Any]):
    """Gives the same generator to everyone who asks."""

    def __init__(self) -> None:
        self.items = generator()

    def __iter__(self) -> Iterator[Any]:
        return self.items


class NoLength(Dataset[Any]):
    def __getitem__(self, index: int) -> Any:
        return SAMPLES[index]


REFUSED = [
    (generator(), "generator that gives one iterator.*read only once.*put it into a list"),
    (iter(SAMPLES), "list_iterator.*read only once"),
    (Once(), "Once.*read only once.*IterableDataset whose __iter__ starts anew"),
    ({"a", "b"}, "another order in every process"),
    ({"text": ["a"]}, "cannot read samples from a dict; give a list"),
    (datasets.DatasetDict(), "cannot read samples from a DatasetDict"),
    ("text", "cannot read samples from a str"),
    (NoLength(), "cannot read samples from a NoLength; .*Dataset with a length"),
    (generator, "cannot read samples from a function"),
    (7, "cannot read samples from a int"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_cannot_be_read_every_epoch(data: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        source_of(data, READY)


def test_a_sample_of_another_kind_names_its_loader() -> None:
    with pytest.raises(
        TypeError,
        match=r"PairsSimilarityDataLoader holds a SimilarityGroupSample where a "
        r"SimilarityPairSample is needed; load it with GroupSimilarityDataLoader",
    ):
        SampleReader(PairKind(), {})(SAMPLES[0])
    with pytest.raises(TypeError, match=r"holds a dict where .* name the columns of the rows: obj_a=, obj_b="):
        SampleReader(PairKind(), {})({"a": 1})


def test_columns_that_a_sample_needs() -> None:
    with pytest.raises(
        ValueError, match=r"PairsSimilarityDataLoader needs the columns obj_a=, obj_b=.*obj_b is missing"
    ):
        SampleReader(PairKind(), {"obj_a": "text"})


MISSING = [
    (ROWS, "the row has no column 'genre', only ['text', 'kind', 'title']"),
    ([Row("a", 1)], "a Row has no column 'genre'; name it by its place, or pass a function"),
    ([("a", 1)], "a tuple has no column 'genre'"),
    (SAMPLES, "a SimilarityGroupSample has no column 'genre'"),
    (datasets.Dataset.from_list(ROWS), "the row has no column 'genre', only"),
    (frame(), "the frame has no column 'genre', only ['text', 'kind', 'title']"),
]


@pytest.mark.parametrize(("data", "message"), MISSING, ids=lambda value: type(value).__name__)
def test_missing_columns(data: Any, message: str) -> None:
    with pytest.raises(KeyError) as caught:
        source_of(data, SampleReader(GroupKind(), {"obj": "genre", "group": "kind"}))[0]  # type: ignore[index]
    assert message in caught.value.args[0]


def test_missing_places_and_twofold_names() -> None:
    by_place = SampleReader(GroupKind(), {"obj": 0, "group": 2})
    with pytest.raises(KeyError, match="the row has no column 2, only 2 of them"):
        source_of([("a", 1)], by_place)[0]  # type: ignore[index]
    with pytest.raises(ValueError, match="several columns of one name"):
        source_of(pd.DataFrame([[1, 2]], columns=["text", "text"]), NAMED)


def test_rows_of_tensors() -> None:
    data = TensorDataset(torch.arange(6.0).view(3, 2), torch.tensor([1, 1, 2]))
    source = source_of(data, SampleReader(GroupKind(), {"obj": 0, "group": 1}))
    assert [int(group) for group in source.values("group")] == [1, 1, 2]
