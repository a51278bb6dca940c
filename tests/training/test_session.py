from __future__ import annotations

import torch
from small_models import SmallModel, groups, pairs, small_pairs

from simlearn import CacheConfig, GroupSimilarityDataLoader, PairsSimilarityDataLoader
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
