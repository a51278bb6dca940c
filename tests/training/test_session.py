from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, SmallModel, groups, numbers, pairs, small_pairs
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    GroupSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityPairSample,
    SimilarityRankingSample,
)
from simlearn.cache import CacheType
from simlearn.data import SampleTable
from simlearn.towers.inputs import CachedRows
from simlearn.training import TrainStage
from simlearn.training.session import Session


def session(model: SmallModel) -> Session:
    loaders = {
        TrainStage.TRAIN: small_pairs(),
        TrainStage.VALIDATION: PairsSimilarityDataLoader(pairs(8), batch_size=3),
    }
    return Session(model.model, model.loss, loaders)


def test_queries_and_documents_of_one_tower_are_encoded_together() -> None:
    model = SmallModel()
    data = session(model)
    batch = next(iter(data.bound(TrainStage.VALIDATION, 0, 1)))
    queries, documents = data.embed(batch)
    expected = model.model.encode([pair.obj_b for pair in pairs(8)[:3]], to_numpy=False)
    torch.testing.assert_close(documents.values, expected)
    assert len(queries) == len(documents) == batch.size == 3
    assert batch.relation.one_space


def test_two_towers_encode_their_own() -> None:
    model = SmallModel(two_towers=True)
    data = session(model)
    batch = next(iter(data.bound(TrainStage.VALIDATION, 0, 1)))
    queries, documents = data.embed(batch)
    torch.testing.assert_close(
        queries.values, model.model.encode_query([p.obj_a for p in pairs(8)[:3]], to_numpy=False)
    )
    torch.testing.assert_close(
        documents.values, model.model.encode_document([p.obj_b for p in pairs(8)[:3]], to_numpy=False)
    )
    assert not batch.relation.one_space


def test_shared_objects_are_one_and_the_same() -> None:
    model = SmallModel()
    loader = GroupSimilarityDataLoader(groups(16), batch_size=8)
    data = Session(model.model, model.loss, {TrainStage.TRAIN: loader})
    queries, documents = data.embed(next(iter(data.bound(TrainStage.TRAIN, 0, 1))))
    assert queries is documents


def test_a_filled_cache_turns_batches_into_row_numbers() -> None:
    model = SmallModel(frozen=True)
    data = session(model)
    plain = data.embed(next(iter(data.bound(TrainStage.VALIDATION, 0, 1))))
    data.fill_cache(CacheConfig(), progress=False)
    loader = data.bound(TrainStage.VALIDATION, 0, 1)
    assert isinstance(loader.table, SampleTable)
    batch = next(iter(loader))
    assert isinstance(batch.query.features["default"], CachedRows)
    for one, other in zip(data.embed(batch), plain, strict=True):
        torch.testing.assert_close(one.values, other.values)


def encoded(data: Session) -> int:
    return data.model.plan.encoders["default"].encoded  # type: ignore[return-value]


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_cached_objects_are_read_and_others_encoded(on_disk: bool, tmp_path: Path) -> None:
    known, new = [pair.obj_a for pair in pairs(8)], numbers(99, 7)
    model = SmallModel(frozen=True)
    expected = model.model.embed(known + new).values
    data = session(model)
    data.fill_cache(CacheConfig(CacheType.CPU, save_dir=tmp_path if on_disk else None), progress=False)
    data.embed(next(iter(data.bound(TrainStage.TRAIN, 0, 1))))  # what training reads stays where it is from now on
    before = encoded(data)
    objects = [known[0], new[0], *known[1:], *new[1:]]
    vectors = data.encode(objects, "query", batch_size=3)
    assert encoded(data) == before + len(new), "the cache was not asked, or nothing else was encoded"
    order = [0, 8, *range(1, 8), *range(9, 15)]
    torch.testing.assert_close(vectors.values, expected[order], rtol=0, atol=1e-6)
    assert not vectors.values.requires_grad
    torch.testing.assert_close(data.encode(known, "document").values, expected[:8], rtol=0, atol=1e-6)
    assert encoded(data) == before + len(new)
    data.encode(new, "query")
    assert encoded(data) == before + 2 * len(new), "what encode encodes is not kept"


def test_kept_objects_are_encoded_once_and_not_looked_at_again() -> None:
    model = SmallModel(frozen=True)
    objects = numbers(99, 7) * 2
    expected = model.model.embed(objects).values
    data = session(model)
    data.fill_cache(CacheConfig(), progress=False)
    before = encoded(data)
    data.keep(objects, "query")
    assert encoded(data) == before + 7
    objects[:] = [None] * 14  # type: ignore[list-item]
    torch.testing.assert_close(data.encode(objects, "query").values, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cached", [False, True])
def test_encoding_leaves_modes_and_can_have_gradients(cached: bool) -> None:
    model = SmallModel(frozen=cached, dropout=0.5)
    model.model.train()
    data = session(model)
    objects = [pair.obj_a for pair in pairs(8)]
    if cached:
        data.fill_cache(CacheConfig(), progress=False)
    modes = [module.training for module in model.model.modules()]
    torch.testing.assert_close(data.encode(objects, "query").values, model.model.embed(objects).values)
    torch.manual_seed(3)
    vectors = data.encode(objects, "query", grad=True).values
    assert [module.training for module in model.model.modules()] == modes
    torch.manual_seed(3)
    expected = model.model(model.model.tower("query").collator()(objects), "query")
    torch.testing.assert_close(vectors, expected)
    given = torch.autograd.grad(vectors.square().sum(), [p for p in model.model.parameters() if p.requires_grad])
    wanted = torch.autograd.grad(expected.square().sum(), [p for p in model.model.parameters() if p.requires_grad])
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_come_in_the_chunks_of_a_step() -> None:
    sizes: list[int] = []
    model = SmallModel()
    model.model.plan.encoders["default"].register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    loaders = {TrainStage.TRAIN: small_pairs()}
    objects = numbers(3, 7)
    expected = model.model.embed(objects, batch_size=7).values
    sizes.clear()
    vectors = Session(model.model, model.loss, loaders, chunk_size=3).encode(objects, "query", grad=True).values
    torch.testing.assert_close(vectors, expected)
    vectors.sum().backward()
    assert sorted(sizes) == [1, 1, 3, 3, 3, 3], "each chunk forward, and again in the backward pass"


def test_a_part_that_is_cached_beside_one_that_is_trained() -> None:
    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return {"frozen": NumbersEncoder(frozen=True), "trained": NumbersEncoder()}

    model = Model()
    known, new = [pair.obj_a for pair in pairs(8)], numbers(99, 3)
    expected = model.model.embed(known + new).values
    data = session(model)
    data.fill_cache(CacheConfig(), progress=False)
    frozen: Any = model.model.plan.encoders["frozen"]
    before = frozen.encoded
    torch.testing.assert_close(data.encode(known, "query").values, expected[:8], rtol=0, atol=1e-6)
    assert frozen.encoded == before
    torch.testing.assert_close(data.encode([*new, *known], "query").values, expected[[8, 9, 10, *range(8)]])
    assert frozen.encoded == before + 3
    gradients = torch.autograd.grad(data.encode([*known, *new], "query", grad=True).values.sum(), trained_of(model))
    wanted = torch.autograd.grad(model.model(model.model.tower().collator()(known + new)).sum(), trained_of(model))
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other)


def trained_of(model: SmallModel) -> list[torch.Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def test_nothing_is_as_many_values_wide_as_something() -> None:
    assert session(SmallModel()).encode([], "query").values.shape == (0, 8)


@pytest.mark.parametrize("frozen", [False, True], ids=["encoded", "cached"])
def test_a_refreshed_stage_gives_its_new_samples(frozen: bool) -> None:
    samples = pairs(8)
    model = SmallModel(frozen=frozen)
    loader = PairsSimilarityDataLoader(samples, batch_size=8)
    data = Session(model.model, model.loss, {TrainStage.TRAIN: loader})
    if frozen:
        data.fill_cache(CacheConfig(), progress=False)
    bound = data.bound(TrainStage.TRAIN, 0, 1)
    next(iter(bound))
    samples[:] = pairs(8, seed=5)
    data.refresh(TrainStage.TRAIN)
    bound.set_epoch(1)
    queries, _ = data.embed(next(iter(bound)))
    again = data.bound(TrainStage.TRAIN, 0, 1)
    again.set_epoch(1)
    assert torch.equal(queries.values, data.embed(next(iter(again)))[0].values)
    expected = model.model.embed([pair.obj_a for pair in samples]).values
    assert sorted(queries.values.sum(1).tolist()) == pytest.approx(sorted(expected.sum(1).tolist()), abs=1e-5)


def test_rows_of_an_earlier_run_are_read_though_training_does_not_need_them(tmp_path: Path) -> None:
    config = CacheConfig(CacheType.CPU, save_dir=tmp_path)
    session(SmallModel(frozen=True)).fill_cache(config, progress=False)
    model = SmallModel(frozen=True)
    data = Session(model.model, model.loss, {TrainStage.TRAIN: PairsSimilarityDataLoader(pairs(8, seed=7), 8)})
    data.fill_cache(config, progress=False)
    data.embed(next(iter(data.bound(TrainStage.TRAIN, 0, 1))))  # copies the rows that training needs
    before = encoded(data)
    earlier = [pair.obj_a for pair in pairs(8)]
    vectors = data.encode(earlier, "query").values
    assert encoded(data) == before
    torch.testing.assert_close(vectors, model.model.embed(earlier).values, rtol=0, atol=1e-6)
    session(model).fill_cache(config, progress=False)
    later = [pair.obj_b for pair in pairs(16, seed=7)]
    other = Session(model.model, model.loss, {TrainStage.TRAIN: PairsSimilarityDataLoader(pairs(16, seed=7), 8)})
    other.fill_cache(config, progress=False)  # as another process would, behind this one's rows
    before = encoded(data)
    vectors = data.encode(later, "query").values
    assert encoded(data) == before
    torch.testing.assert_close(vectors, model.model.embed(later).values, rtol=0, atol=1e-6)


def data_of(kind: str, **options: Any) -> Any:
    """A loader whose batches are no slices of the data."""
    if kind == "pairs":
        return PairsSimilarityDataLoader(pairs(24), batch_size=5, **options)
    if kind == "groups":
        return GroupSimilarityDataLoader(groups(24), batch_size=8, **options)
    samples = [
        SimilarityRankingSample(numbers(i, 1)[0], numbers(i, 1 + i % 3), [1.0] + [0.0] * (i % 3)) for i in range(24)
    ]
    return RankingSimilarityDataLoader(samples, batch_size=5, **options)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("kind", ["pairs", "groups", "rankings"])
def test_documents_of_a_batch_can_be_found_and_encoded_again(kind: str, cached: bool) -> None:
    model = SmallModel(frozen=cached, two_towers=kind == "rankings")
    data = Session(model.model, model.loss, {TrainStage.TRAIN: data_of(kind)})
    if cached:
        data.fill_cache(CacheConfig(), progress=False)
    seen = set()
    for batch in data.bound(TrainStage.TRAIN, 0, 1):
        _, documents = data.embed(batch)
        assert batch.origins is not None and batch.origins.shape == (len(documents), 2)
        seen |= {tuple(origin) for origin in batch.origins.tolist()}
        order = torch.randperm(len(documents))
        again = data.encode(data.documents_at(TrainStage.TRAIN, batch.origins[order]), "document")
        torch.testing.assert_close(again.values, documents.values[order])
    assert len(seen) > 12


def test_origins_come_from_workers_too_and_move_with_their_batch() -> None:
    model = SmallModel()
    data = Session(model.model, model.loss, {TrainStage.TRAIN: data_of("pairs", num_workers=1)})
    batch = next(iter(data.bound(TrainStage.TRAIN, 0, 1)))
    objects = data.documents_at(TrainStage.TRAIN, batch.to("cpu").origins)  # type: ignore[arg-type]
    torch.testing.assert_close(data.encode(objects, "document").values, data.embed(batch)[1].values)


def test_what_a_stream_gave_is_gone() -> None:
    model = SmallModel()

    class Stream(IterableDataset[SimilarityPairSample]):
        def __iter__(self) -> Iterator[SimilarityPairSample]:
            return iter(pairs(8))

    stream = PairsSimilarityDataLoader(Stream(), batch_size=4)
    data = Session(model.model, model.loss, {TrainStage.TRAIN: stream})
    assert next(iter(data.bound(TrainStage.TRAIN, 0, 1))).origins is None
    with pytest.raises(TypeError, match="the samples of a stream cannot be read again"):
        data.documents_at(TrainStage.TRAIN, torch.zeros(1, 2, dtype=torch.long))
