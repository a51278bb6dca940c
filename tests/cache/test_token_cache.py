"""The token cache gives what the tokenizer gives, asks it once a text, and never serves another tokenizer's tokens."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import quiet_trainer, weights
from tiny_models import WORDS, tiny_sentence_transformer
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    Field,
    Fields,
    GroupSimilarityDataLoader,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityPairSample,
    SimilarityRankingSample,
    TextEncoder,
    TrainableModel,
    TwoTower,
    fit,
)
from simlearn.cache import EmbeddingCache
from simlearn.cache.token_cache import TokenCache
from simlearn.encoders import BagOfTokensEncoder, HashedNGrams
from simlearn.encoders._text_collate import TextCollate
from simlearn.encoders.tokens import Tokens, same_features
from simlearn.files import LoadError
from simlearn.store import DiskTable


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_sentence_transformer(tmp_path_factory.mktemp("model"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that were tokenised."""
    texts: list[str] = []
    tokenize = TextCollate.tokenize

    def watched(self: TextCollate, given: list[Any]) -> Tokens:
        texts.extend(given)
        return tokenize(self, given)

    monkeypatch.setattr(TextCollate, "tokenize", watched)
    yield texts


def texts(count: int, seed: int = 0, most: int = 20) -> list[str]:
    chance = random.Random(seed)
    return [f"{number} " + " ".join(chance.choices(WORDS, k=chance.randrange(most))) for number in range(count)]


def pairs(count: int = 32, seed: int = 0) -> list[SimilarityPairSample]:
    made = texts(2 * count, seed)
    return [SimilarityPairSample(a, b) for a, b in zip(made[::2], made[1::2], strict=True)]


def loader(count: int = 32, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(pairs(count), batch_size=8, **options)


class TextModel(TrainableModel):
    def __init__(self, spec: Any, folder: Path | None = None, cached: bool = False, **options: Any) -> None:
        self.given = [spec]
        self.folder, self.cached = folder, cached
        super().__init__(warmup=0, encoder_learning_rate=1e-3, **options)

    def configure_encoders(self) -> Any:
        return self.given[0]

    def configure_loss(self) -> Any:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig | None:
        return CacheConfig(save_dir=self.folder, tokens=True) if self.cached else None


def cache_of(spec: Any, folder: Path) -> EmbeddingCache:
    return EmbeddingCache(TextModel(spec).model, CacheConfig(save_dir=folder, tokens=True))


def trained(text_model: Any, prompt: str | None = None) -> TextEncoder:
    return TextEncoder(text_model, trainable=True, prompt=prompt)


def tokens_of(cache: EmbeddingCache) -> TokenCache:
    assert cache.tokens is not None
    return cache.tokens


def stored(cache: EmbeddingCache) -> int:
    return sum(len(table) for table in tokens_of(cache).tables)


def test_a_batch_is_bit_for_bit_that_of_the_tokenizer(text_model: Any, tmp_path: Path, asked: list[str]) -> None:
    encoder = trained(text_model)
    spec = TwoTower(query=encoder.with_prompt("query: "), document=encoder.with_prompt("passage: "))
    cache = cache_of(spec, tmp_path)
    cache.fill(loader(), progress=False)
    every = [pair.obj_a for pair in pairs()]
    asked.clear()
    lookup = pickle.loads(pickle.dumps(cache.lookups("query")))["default"]
    for rows in (range(32), [3, 3, 1], [7]):
        picked = [every[row] for row in rows]
        assert same_features(lookup(picked), encoder.get_prompted_collate_fn("query: ")(picked))
    assert not asked
    assert same_features(lookup([]), {})
    assert cache.lookups("document")["default"].table.path != lookup.table.path


def test_each_distinct_text_is_tokenised_once_in_all_runs(text_model: Any, tmp_path: Path, asked: list[str]) -> None:
    samples = [*pairs(), *pairs()]
    cache = cache_of(trained(text_model), tmp_path)
    cache.fill(PairsSimilarityDataLoader(samples, batch_size=8), progress=False)
    checked = 16
    assert stored(cache) == 64 and len(asked) == 64 + checked
    asked.clear()
    again = cache_of(trained(text_model), tmp_path)
    again.fill(
        PairsSimilarityDataLoader([*samples, SimilarityPairSample("new", "newer")], batch_size=8), progress=False
    )
    assert stored(again) == 66 and len(asked) == 2 + checked


def test_objects_of_no_loader_are_kept_too(text_model: Any, tmp_path: Path, asked: list[str]) -> None:
    model = TextModel(trained(text_model))
    cache = EmbeddingCache(model.model, CacheConfig(save_dir=tmp_path, tokens=True))
    more = texts(40, seed=8)
    cache.add("query", [*more, *more])
    assert stored(cache) == 40
    asked.clear()
    lookup = cache.lookups("query")["default"]
    assert same_features(lookup(more[5:9]), model.model.tower("query").collator().collate_fns[0](more[5:9]))
    assert not asked


def test_only_numbers_are_on_disk(text_model: Any, tmp_path: Path) -> None:
    cache = cache_of(trained(text_model), tmp_path)
    cache.fill(loader(), progress=False)
    (folder,) = tmp_path.glob("tokens-*")
    described = DiskTable(folder).describe()
    assert described["layout"] == "many vectors an object of size 1 and int32"
    assert described["description"]["holds"] == "tokens"
    assert len(np.fromfile(folder / "vectors" / "data.ninja", np.int32)) == described["vectors"]
    assert len(DiskTable(folder).verify()) == 0


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(pairs())


def test_all_kinds_of_samples_and_fields(text_model: Any, tmp_path: Path) -> None:
    made = texts(64)
    groups = [SimilarityGroupSample(text, number // 4) for number, text in enumerate(made)]
    rankings = [SimilarityRankingSample(made[n], made[n + 1 : n + 4], [1, 0, 0]) for n in range(0, 40, 4)]
    fields = [SimilarityPairSample({"t": pair.obj_a}, {"t": pair.obj_b}) for pair in pairs()]
    spec = trained(text_model)
    for number, (data, encoders, count) in enumerate(
        [
            (GroupSimilarityDataLoader(groups, batch_size=8), spec, 64),
            (RankingSimilarityDataLoader(rankings, batch_size=8), spec, 40),
            (PairsSimilarityDataLoader(Stream(), batch_size=8), spec, 64),
            (PairsSimilarityDataLoader(fields, batch_size=8), Field("t", spec), 64),
        ]
    ):
        cache = cache_of(encoders, tmp_path / str(number))
        cache.fill(data, progress=False)
        assert stored(cache) == count


def test_bags_of_tokens_and_frozen_encoders(text_model: Any, tmp_path: Path) -> None:
    words = BagOfTokensEncoder(HashedNGrams(), 8)
    spec = {"frozen": TextEncoder(text_model), "words": words}
    cache = cache_of(spec, tmp_path)
    cache.fill(loader(), progress=False)
    assert list(tokens_of(cache).lookups("query")) == ["words"] and stored(cache) == 64
    every = [pair.obj_b for pair in pairs()]
    assert same_features(cache.lookups("query")["words"](every), words.get_collate_fn()(every))
    assert not tokens_of(cache_of(TextEncoder(text_model), tmp_path)).tables


def test_texts_that_were_never_seen_are_tokenised(text_model: Any, tmp_path: Path) -> None:
    cache = cache_of(trained(text_model), tmp_path)
    cache.fill(loader(), progress=False)
    lookup = cache.lookups("query")["default"]
    known = pairs()[0].obj_a
    for mixed in (["x", known, "x", "y", known], ["x", "y"]):
        assert same_features(lookup(mixed), trained(text_model).get_collate_fn()(mixed))
    assert stored(cache) == 64


def test_another_tokenizer_has_another_table(text_model: Any, tmp_path: Path) -> None:
    for spec in (
        trained(text_model),
        trained(text_model, "a: "),
        TextEncoder(text_model, trainable=True, max_length=9),
    ):
        cache = cache_of(spec, tmp_path)
        cache.fill(loader(), progress=False)
        assert stored(cache) == 64
    assert len(list(tmp_path.glob("tokens-*"))) == 3


def test_tokens_that_are_wrong_are_not_served(text_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_of(trained(text_model), tmp_path).fill(loader(), progress=False)
    tokenize = TextCollate.tokenize

    def changed(self: TextCollate, given: list[Any]) -> Tokens:
        tokens = tokenize(self, given)
        return Tokens(tokens.values + 1, tokens.lengths)

    monkeypatch.setattr(TextCollate, "tokenize", changed)
    with pytest.raises(LoadError, match="holds other tokens than the tokenizer gives"):
        cache_of(trained(text_model), tmp_path).fill(loader(), progress=False)


def test_a_flipped_byte_is_no_token(text_model: Any, tmp_path: Path) -> None:
    cache = cache_of(trained(text_model), tmp_path)
    cache.fill(loader(), progress=False)
    (path,) = tmp_path.glob("tokens-*/vectors/data.ninja")
    ids = np.fromfile(path, np.int32)
    ids[-1] += 1
    ids.tofile(path)
    with pytest.raises(LoadError, match="is not what was written"):
        again = cache_of(trained(text_model), tmp_path).lookups("query")["default"]
        again([text for pair in pairs() for text in (pair.obj_a, pair.obj_b)])


@pytest.mark.parametrize(
    ("options", "workers"), [({}, 0), ({"encode_chunk_size": 3}, 0), ({"encode_chunk_tokens": 60}, 1)], ids=str
)
def test_training_is_the_same(tmp_path: Path, options: dict[str, int], workers: int) -> None:
    results = []
    data = [SimilarityPairSample(pair.obj_a, {"t": pair.obj_b}) for pair in pairs(16)]
    for cached in (False, True):
        encoder = trained(tiny_sentence_transformer(tmp_path / str(cached)))
        spec = TwoTower(
            query={"a": encoder.with_prompt("q: "), "b": encoder},
            document=Fields(t=encoder, words=Field("t", encoder)),
        )
        model = TextModel(spec, tmp_path / "cache", cached, **options)
        before = weights(model)
        torch.manual_seed(3)  # of dropout
        loader = PairsSimilarityDataLoader(data, batch_size=8, num_workers=workers)
        fit(model, loader, trainer=quiet_trainer(max_epochs=1))
        results.append(weights(model))
    for name, expected in results[0].items():
        assert torch.equal(results[1][name], expected), name
    assert any(not torch.equal(results[0][name], tensor) for name, tensor in before.items())


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    from processes import run_on_two

    folder = str(tmp_path / "model")
    tiny_sentence_transformer(folder).save(folder + "/whole")
    told = run_on_two(
        _filled, (folder + "/whole", str(tmp_path / "cache")), (folder + "/whole", str(tmp_path / "cache"))
    )
    assert [rows for rows, _ in told] == [64, 64]
    own = [tokenised for _, tokenised in told]
    assert sum(own) == 64 and min(own) > 10
    told = run_on_two(_filled, (folder + "/whole", None), (folder + "/whole", None))
    assert [rows for rows, _ in told] == [64, 64] and sum(tokenised for _, tokenised in told) == 64


def _filled(model: str, folder: str | None) -> tuple[int, int]:
    """In one of two processes: the rows that it finds, and how many texts it tokenised."""
    cache = cache_of(TextEncoder(model, trainable=True, local_files_only=True), folder)
    counted: list[int] = []
    keep = type(cache.lookups("query")["default"]).keep

    def watched(self: Any, keys: Any, objects: list[Any]) -> None:
        counted.append(len(objects))
        keep(self, keys, objects)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(cache.lookups("query")["default"]), "keep", watched)
        cache.fill(loader(), progress=False)
    every = [text for pair in pairs() for text in (pair.obj_a, pair.obj_b)]
    assert same_features(cache.lookups("query")["default"](every), cache.lookups("query")["default"].collate(every))
    return stored(cache), sum(counted)
