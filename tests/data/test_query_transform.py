"""Queries that are others in every epoch, whoever reads them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback
from small_models import quiet_trainer
from torch import nn
from torch.utils.data import IterableDataset, get_worker_info

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    CacheType,
    Fields,
    HashedNGrams,
    KeyboardTypos,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    TrainableModel,
    fit,
)
from simlearn.data.batch import BatchCollator
from simlearn.data.query_transform import QueryTransform, seeded

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
    assert first != second and [first, second] == queries_of(Stream(), workers=1) == queries_of(Stream(), workers=2)


class OneQuery(IterableDataset[Any]):
    """The same query again and again, in the workers' own parts where there are any and `split` is true."""

    def __init__(self, split: bool = False) -> None:
        self.split = split

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        part = len(PAIRS) // info.num_workers if self.split and info else len(PAIRS)
        return iter([SimilarityPairSample("spoon", "document")] * part)


def given_seeds(data: Any, rank: int = 0, world_size: int = 1, start: int = 0, **options: Any) -> list[list[str]]:
    """What each batch of one process is told for a seed, as the queries."""
    loader = PairsSimilarityDataLoader(data, batch_size=4, query_transform=told_seed, **options)
    collator = BatchCollator(loader.kind, Plain())
    bound = loader.bind(collator, training=True, rank=rank, world_size=world_size)
    bound.load_state_dict({"epoch": 0, "batches": start})
    return [batch.query[:4] for batch in bound]


def told_seed(query: str, seed: int) -> str:
    return f"{query} {seed}"


class Plain:
    """A tower's collator that leaves objects as they are."""

    def __call__(self, objects: list[Any], lookups: Any = None) -> list[Any]:
        return objects


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_each_place_of_a_stream_has_its_own_seed(sharded: bool, workers: int) -> None:
    options: dict[str, Any] = {"sharded": sharded, "num_workers": workers}
    batches = given_seeds(OneQuery(sharded), **options)
    told = [query for batch in batches for query in batch]
    assert len(set(told)) == len(told) == len(PAIRS)
    assert given_seeds(OneQuery(sharded), start=2, **options) == batches[2:]


def test_a_place_has_the_same_seed_whoever_reads_it() -> None:
    whole = given_seeds(OneQuery())
    for workers in (0, 2):
        assert given_seeds(OneQuery(), num_workers=workers) == whole
        shares = [given_seeds(OneQuery(), rank, 2, num_workers=workers) for rank in range(2)]
        assert [batch for both in zip(*shares, strict=True) for batch in both] == whole


def test_processes_with_their_own_parts_have_their_own_seeds() -> None:
    shares = [given_seeds(OneQuery(), rank, 2, sharded=True) for rank in range(2)]
    told = [query for share in shares for batch in share for query in batch]
    assert len(set(told)) == len(told) == 2 * len(PAIRS)


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
    begun: list[Any] = []
    trainer = quiet_trainer(callbacks=[LambdaCallback(on_train_start=lambda *told: begun.append(told))])
    with pytest.raises(ValueError, match=r"query_transform changes .* 'default', .* cached.*CacheType.NONE"):
        fit(Headed(frozen, CacheConfig()), loader, trainer=trainer)
    assert not begun
    fit(Headed(frozen, CacheConfig(mapping={"default": CacheType.NONE})), loader, trainer=quiet_trainer(max_epochs=1))
    plain = PairsSimilarityDataLoader(PAIRS, batch_size=8)
    fit(Headed(frozen, CacheConfig()), plain, loader, trainer=quiet_trainer(max_epochs=1))  # validation: as they are


def typed_title(query: dict[str, str], seed: int) -> dict[str, str]:
    return {**query, "title": KeyboardTypos(1.0)(query["title"], seed)}


@pytest.mark.parametrize(("changed", "refused"), [("title", True), ("kind", False)])
def test_a_frozen_encoder_of_a_field_that_stays_may_be_cached(changed: str, refused: bool) -> None:
    """`changed` is the field that the frozen encoder reads; the transform touches the title."""
    frozen, trained = (BagOfTokensEncoder(HashedNGrams(64), 4, trainable=trainable) for trainable in (False, True))
    other = "kind" if changed == "title" else "title"
    fields = Fields(**{changed: frozen, other: trained})
    pairs = [
        SimilarityPairSample({"title": f"red spoon {n}", "kind": "k"}, {"title": f"d {n}", "kind": "e"})
        for n in range(8)
    ]
    loader = PairsSimilarityDataLoader(pairs, batch_size=8, query_transform=typed_title)
    with pytest.raises(ValueError, match=f"query_transform.*'{changed}'") if refused else nullcontext():
        fit(Model(fields, CacheConfig()), loader, trainer=quiet_trainer(max_epochs=1))


def test_seeds_differ_by_all_they_depend_on() -> None:
    def seed(query: Any, given: int) -> int:
        return given

    told = [
        *(QueryTransform(seed, s, e)(["q"], [n])[0] for s in (0, 1) for e in (0, 1) for n in (0, 1)),
        *(
            QueryTransform(seed, s, e)(["q"], [n], shard)[0]
            for s in (0, 1)
            for e in (0, 1)
            for n in (0, 1)
            for shard in (0, 1)
        ),
    ]
    assert len(set(told)) == 24


def by_default(query: str, seed: int = 5) -> str:
    return f"{query} {seed}"


def by_name(query: str, upper: bool = False, *, seed: int) -> str:
    return f"{query} {seed}{upper}"


def with_option(query: str, upper: bool = False) -> str:
    return f"{query} {upper}"


class Forward(nn.Module):
    def forward(self, query: str) -> str:
        return f"{query} forward"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (told_seed, "q 3"),
        (by_default, "q 3"),
        (lambda query, number: f"{query} {number}", "q 3"),
        (lambda *given: given, ("q", 3)),
        (by_name, "q 3False"),
        (partial(by_name, upper=True), "q 3True"),
        (with_option, "q False"),
        (str.upper, "Q"),
        (lambda query: query * 2, "qq"),
        (Forward(), "q forward"),
        (KeyboardTypos(0.0), "q"),
    ],
)
def test_with_a_seed_or_without(function: Any, expected: Any) -> None:
    assert seeded(function)("q", 3) == expected


def test_a_function_of_the_query_alone_and_how_workers_get_it() -> None:
    for function in (str.upper, by_name, told_seed):
        assert pickle.loads(pickle.dumps(seeded(function)))("q", 1) == seeded(function)("q", 1)
    loader = PairsSimilarityDataLoader(PAIRS, batch_size=8, query_transform=str.upper)
    SEEN.clear()
    fit(Model(), loader, trainer=quiet_trainer(max_epochs=1))
    assert {pair.obj_a.upper() for pair in PAIRS} <= set(SEEN)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("typos", "got 'typos'"),
        (lambda: "", "takes \\(\\)"),
        (lambda query, seed, more: "", "more"),
        (lambda query, *, strength: "", "strength"),
        (str, "put it into a lambda"),
    ],
)
def test_what_is_no_transform(function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"must be a function of a query, or of a query and a seed.*{message}"):
        PairsSimilarityDataLoader(PAIRS, query_transform=function)
