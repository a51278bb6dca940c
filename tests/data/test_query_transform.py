"""Queries that are others in every epoch, whoever reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_models import quiet_trainer
from torch.utils.data import IterableDataset

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    HashedNGrams,
    KeyboardTypos,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    TrainableModel,
    fit,
)
from simlearn.data.query_transform import QueryTransform

PAIRS = [SimilarityPairSample(f"red spoon {n}", f"document {n}") for n in range(24)]


class Recorder(BagOfTokensEncoder):
    """Says what it was given in its batches."""

    def get_collate_fn(self) -> Any:
        collate = super().get_collate_fn()
        return _Told(collate)

    def forward(self, batch: Any) -> torch.Tensor:
        SEEN.extend(batch.pop("texts"))
        return super().forward(batch)


SEEN: list[str] = []


class _Told:
    def __init__(self, collate: Any) -> None:
        self.collate = collate

    def __call__(self, objects: list[Any]) -> Any:
        return {**self.collate(objects), "texts": list(objects)}


class Model(TrainableModel):
    def __init__(self, encoder: Any = None, cache: CacheConfig | None = None) -> None:
        torch.manual_seed(0)
        self.given = encoder or Recorder(HashedNGrams(64), 4), cache
        super().__init__()

    def configure_encoders(self) -> Any:
        return self.given[0]

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig | None:
        return self.given[1]


def queries_of(data: Any, epochs: int = 2, workers: int = 0, **options: Any) -> list[list[str]]:
    """The queries of each epoch, in the order of their samples."""
    SEEN.clear()
    loader = PairsSimilarityDataLoader(
        data, batch_size=8, query_transform=KeyboardTypos(0.9), num_workers=workers, **options
    )
    fit(Model(), loader, trainer=quiet_trainer(max_epochs=epochs))
    asked = [text for text in SEEN if not text.startswith("document")]
    assert len(asked) == epochs * len(PAIRS)
    return [sorted(asked[: len(PAIRS)]), sorted(asked[len(PAIRS) :])]


def test_new_in_each_epoch_and_alike_for_all_workers() -> None:
    first, second = queries_of(PAIRS)
    assert first != second and len(set(first) & {pair.obj_a for pair in PAIRS}) < 3
    assert [first, second] == queries_of(PAIRS, workers=2)
    assert [first, second] != queries_of(PAIRS, seed=1)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(PAIRS)


def test_of_a_stream() -> None:
    first, second = queries_of(Stream())
    assert first != second and [first, second] == queries_of(Stream(), workers=1)


def test_validation_is_as_it_is() -> None:
    SEEN.clear()
    loader = PairsSimilarityDataLoader(PAIRS, batch_size=8, query_transform=KeyboardTypos(1.0))
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=0)
    fit(Model(), loader, loader, trainer=trainer)
    assert set(SEEN) <= {text for pair in PAIRS for text in (pair.obj_a, pair.obj_b)}


def test_ids_are_those_of_the_query_as_it_was() -> None:
    loader = PairsSimilarityDataLoader([PAIRS[0]] * 8, batch_size=8, query_transform=KeyboardTypos(1.0))
    (batch,) = loader
    assert len(set(batch.relation.query_ids.tolist())) == 1


def test_tokens_are_made_anew_while_those_of_documents_are_kept() -> None:
    def encoder() -> BagOfTokensEncoder:
        torch.manual_seed(0)
        return BagOfTokensEncoder(HashedNGrams(64), 4)

    model, plain = Model(encoder(), CacheConfig(tokens=True)), Model(encoder())
    loader = PairsSimilarityDataLoader(PAIRS, batch_size=8, query_transform=KeyboardTypos(1.0))
    for one in (model, plain):
        fit(one, loader, trainer=quiet_trainer(max_epochs=2))
    for own, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_frozen_encoder_cannot_be_cached_beside_it() -> None:
    frozen = BagOfTokensEncoder(HashedNGrams(64), 4, trainable=False)

    class Headed(Model):
        def configure_head(self, input_embedding_size: int) -> Any:
            from simlearn import MLPHead

            return MLPHead(input_embedding_size, [], 4)

    loader = PairsSimilarityDataLoader(PAIRS, batch_size=8, query_transform=KeyboardTypos(1.0))
    with pytest.raises(ValueError, match=r"cached.*CacheType.NONE"):
        fit(Headed(frozen, CacheConfig()), loader, trainer=quiet_trainer())


def test_seeds_differ_by_all_they_depend_on() -> None:
    def seed(query: Any, given: int) -> int:
        return given

    told = [
        *(QueryTransform(seed, s, e)(["q"], [n])[0] for s in (0, 1) for e in (0, 1) for n in (0, 1)),
        QueryTransform(seed, 0, 0)(["q"], None)[0],
    ]
    assert len(set(told)) == 9
    with pytest.raises(TypeError, match="must be a function"):
        PairsSimilarityDataLoader(PAIRS, query_transform="typos")  # type: ignore[arg-type]
