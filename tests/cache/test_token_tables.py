"""Data sets of which all tokens are kept become columns of row numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import quiet_trainer

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    CategoricalEncoder,
    EmbeddingCache,
    Field,
    GroupSimilarityDataLoader,
    HashedNGrams,
    LoadError,
    MultipleNegativesRankingLoss,
    NumericEncoder,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityPairSample,
    SimilarityRankingSample,
    TrainableModel,
    TwoTower,
    fit,
)
from simlearn.data import SampleTable
from simlearn.encoders import Encoder
from simlearn.towers.inputs import CachedRows, InputChunks, Inputs

PRODUCTS = [{"title": f"red spoon {n}", "kind": f"kind {n % 5}", "price": n} for n in range(40)]
PAIRS = [SimilarityPairSample(f"spoon {n}", product) for n, product in enumerate(PRODUCTS)]


class Products(TrainableModel):
    def __init__(self, cache: CacheConfig | None = None, words: Encoder | None = None, **options: Any) -> None:
        torch.manual_seed(0)
        self.given = cache, words or BagOfTokensEncoder(HashedNGrams(64), 8)
        super().__init__(**options)

    def configure_encoders(self) -> TwoTower:
        words = self.given[1]
        kinds = CategoricalEncoder([f"kind {n}" for n in range(5)], 3)
        numbers = NumericEncoder(["price"]).fit(PRODUCTS)
        document = {"kind": Field("kind", kinds), "title": Field("title", words), "numbers": numbers}
        return TwoTower(query=words, document=document)

    def configure_head(self, input_embedding_size: int) -> Any:
        from simlearn import MLPHead

        return MLPHead(input_embedding_size, [], 4)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig | None:
        return self.given[0]


def table_of(model: TrainableModel, loader: Any, **config: Any) -> SampleTable | None:
    return EmbeddingCache(model.model, CacheConfig(tokens=True, **config)).fill(loader, progress=False)


class Read:
    """Counts the samples that are read of it."""

    def __init__(self, samples: Any = PAIRS) -> None:
        self.samples = samples
        self.count = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        self.count += 1
        return self.samples[index]


@pytest.mark.parametrize("options", [{}, {"encode_chunk_size": 3}], ids=str)
def test_training_is_the_same_and_reads_nothing(options: dict[str, int]) -> None:
    plain = Products(**options)
    fit(plain, PairsSimilarityDataLoader(PAIRS, batch_size=8), trainer=quiet_trainer(max_epochs=4))
    model, data = Products(CacheConfig(tokens=True), **options), Read()
    fit(model, PairsSimilarityDataLoader(data, batch_size=8), trainer=quiet_trainer(max_epochs=4))
    assert data.count < 2 * len(PAIRS), "once, and a few again: to examine them, and in each epoch"
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def features(inputs: Inputs | InputChunks | None) -> dict[str, Any]:
    assert isinstance(inputs, Inputs)
    return inputs.features


def test_a_batch_is_what_the_collate_functions_say() -> None:
    model = Products()
    table = table_of(model, PairsSimilarityDataLoader(PAIRS, batch_size=8))
    assert table is not None
    rows = torch.tensor([3, 3, 17])
    batch = table.batch(rows)
    picked = [PAIRS[row].obj_b for row in rows.tolist()]
    expected = model.model.tower("document").collator()(picked).features
    found = features(batch.document)
    assert isinstance(found["numbers"], CachedRows) and torch.equal(found["kind"], expected["kind"])
    for name in ("tokens", "offsets"):
        assert torch.equal(found["title"][name], expected["title"][name])
    again = model.model.tower("query").collator()([PAIRS[row].obj_a for row in rows.tolist()]).features["default"]
    assert all(torch.equal(features(batch.query)["default"][name], again[name]) for name in again)
    assert batch.origins is not None and batch.origins.tolist() == [[3, 0], [3, 0], [17, 0]]


class Words(TrainableModel):
    def configure_encoders(self) -> BagOfTokensEncoder:
        return BagOfTokensEncoder(HashedNGrams(64), 8)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()


@pytest.mark.parametrize("options", [{}, {"chunk_size": 2}, {"chunk_tokens": 30}], ids=str)
def test_one_tower_and_all_kinds_of_samples(options: dict[str, int]) -> None:
    from dataclasses import replace

    model = Words()
    texts = [f"word{n} {'x' * (n % 7)}" for n in range(24)]
    loaders = [
        PairsSimilarityDataLoader([SimilarityPairSample(a, b) for a, b in pairwise(texts)]),
        GroupSimilarityDataLoader([SimilarityGroupSample(text, n // 2) for n, text in enumerate(texts)]),
        RankingSimilarityDataLoader(
            [SimilarityRankingSample(texts[n], texts[n + 1 : n + 2 + n % 3], [1] + [0] * (n % 3)) for n in range(12)]
        ),
    ]
    for loader in loaders:
        table = table_of(model, loader)
        assert table is not None
        rows = torch.tensor([5, 0, 7, 7])
        batch = replace(table, **options).batch(rows)  # type: ignore[arg-type]
        samples = [loader.source[row] for row in rows.tolist()]  # type: ignore[index]
        kind = loader.kind
        objects = kind.queries(samples) if kind.shared else kind.queries(samples) + kind.documents(samples)[0]
        from simlearn.towers.chunks import embed_in_chunks

        found = embed_in_chunks(model.model.tower("query"), batch.query, None).values
        torch.testing.assert_close(found, torch.as_tensor(model.model.encode(objects, to_numpy=False)))


def test_texts_that_are_others_each_time_are_tokenised_as_they_come() -> None:
    class Random(Read):
        def __getitem__(self, index: int) -> Any:
            self.count += 1
            return SimilarityPairSample(f"spoon {index} {self.count}", PRODUCTS[index])

    assert table_of(Products(), PairsSimilarityDataLoader(Random(), batch_size=8)) is None
    model = Products(CacheConfig(tokens=True, mapping={"numbers": "none"}))  # type: ignore[dict-item]
    fit(model, PairsSimilarityDataLoader(Random(), batch_size=8), trainer=quiet_trainer(max_epochs=4))


def test_facts_for_the_head_need_the_objects() -> None:
    class Told(BagOfTokensEncoder):
        def extract_meta(self, objects: list[Any]) -> list[dict[str, Any]]:
            return [{"length": float(len(obj))} for obj in objects]

    model = Products(words=Told(HashedNGrams(64), 8))
    assert table_of(model, PairsSimilarityDataLoader(PAIRS)) is None


def test_a_data_set_of_a_known_version_is_not_read_again(tmp_path: Path) -> None:
    reads = []
    for _ in range(2):
        data = Read()
        table = table_of(Products(), PairsSimilarityDataLoader(data, dataset_version="1"), save_dir=tmp_path)
        assert table is not None and len(table) == len(PAIRS)
        reads.append(data.count)
    assert reads[0] >= len(PAIRS) and reads[1] <= 12
    other = [SimilarityPairSample("another", product) for product in PRODUCTS]
    with pytest.raises(ValueError, match="is not what it was"):
        table_of(Products(), PairsSimilarityDataLoader(other, dataset_version="1"), save_dir=tmp_path)


def test_a_tokenizer_that_changed_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_of(Products(), PairsSimilarityDataLoader(PAIRS), save_dir=tmp_path)
    monkeypatch.setattr(HashedNGrams, "__call__", lambda self, text: [1, 2])
    with pytest.raises((RuntimeError, LoadError), match="holds other tokens"):
        table_of(Products(), PairsSimilarityDataLoader(PAIRS), save_dir=tmp_path)
