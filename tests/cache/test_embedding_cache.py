"""Training on cached embeddings is training on embeddings, only faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import NumbersEncoder, SmallModel, groups, numbers, pairs, weights
from torch.utils.data import Dataset, IterableDataset

from simlearn import (
    CacheConfig,
    CacheType,
    Field,
    Fields,
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SequentialHead,
    SimilarityLabelSample,
    SimilarityPairSample,
    SimilarityRankingSample,
    SkipConnectionHead,
    SwitchEncoder,
    SwitchHead,
    TripletLoss,
    TwoTower,
    fit,
)


def train(model: SmallModel, loader: Any, validation: Any = None, epochs: int = 2) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fit(model, loader, validation, trainer=trainer)
    return trainer


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(pairs(64))


class TwoEncoders(SmallModel):
    def configure_encoders(self) -> Any:
        return {"b": NumbersEncoder(output=8, frozen=True), "a": NumbersEncoder(output=4, frozen=True)}


class SharedTowers(SmallModel):
    """Two towers over fields of a structured object, one encoder in both."""

    def configure_encoders(self) -> Any:
        words, extra = NumbersEncoder(frozen=True), NumbersEncoder(output=4, frozen=True)
        return TwoTower(query=Field("text", words), document=Fields(text=words, other=extra))

    def configure_head(self, input_embedding_size: int) -> Any:
        linear = torch.nn.Linear(input_embedding_size, 6)
        return SequentialHead(linear, output_size=6, input_embedding_size=input_embedding_size)


class PartlyTrainable(SmallModel):
    def configure_encoders(self) -> Any:
        return {"frozen": NumbersEncoder(frozen=True), "trainable": NumbersEncoder()}


class BySign(SwitchEncoder):
    @staticmethod
    def encoder_selection(record: Any) -> str:
        return "positive" if record[0] > 0 else "negative"


class Switched(SmallModel):
    def configure_encoders(self) -> Any:
        return BySign({"positive": NumbersEncoder(frozen=True), "negative": NumbersEncoder(frozen=True)})

    def configure_head(self, input_embedding_size: int) -> Any:
        options = {name: SkipConnectionHead(input_embedding_size) for name in ("positive", "negative")}
        return SwitchHead(options, input_embedding_size)


def structured() -> list[SimilarityPairSample]:
    return [
        SimilarityPairSample({"text": p.obj_a}, {"text": p.obj_b, "other": other})
        for p, other in zip(pairs(64), numbers(9, 64), strict=True)
    ]


def labelled() -> list[SimilarityLabelSample]:
    return [SimilarityLabelSample(obj, [row % 3, row % 5]) for row, obj in enumerate(numbers(0, 64))]


def rankings() -> list[SimilarityRankingSample]:
    return [
        SimilarityRankingSample(numbers(i, 1)[0], numbers(i, 2 + i % 3), [1.0] + [0.0] * (1 + i % 3)) for i in range(64)
    ]


CASES: dict[str, tuple[type[SmallModel], Any, Any]] = {
    "pairs": (SmallModel, None, lambda: PairsSimilarityDataLoader(pairs(64), batch_size=16)),
    "pairs, workers": (SmallModel, None, lambda: PairsSimilarityDataLoader(pairs(64), batch_size=16, num_workers=1)),
    "stream": (SmallModel, None, lambda: PairsSimilarityDataLoader(Stream(), batch_size=16)),
    "groups": (
        SmallModel,
        TripletLoss,
        lambda: GroupSimilarityDataLoader(groups(64), batch_size=16, samples_per_group=4),
    ),
    "labels": (SmallModel, TripletLoss, lambda: LabelSimilarityDataLoader(labelled(), batch_size=16)),
    "rankings": (SmallModel, None, lambda: RankingSimilarityDataLoader(rankings(), batch_size=16)),
    "two encoders": (TwoEncoders, None, lambda: PairsSimilarityDataLoader(pairs(64), batch_size=16)),
    "two towers": (SharedTowers, None, lambda: PairsSimilarityDataLoader(structured(), batch_size=16)),
    "switch": (Switched, None, lambda: PairsSimilarityDataLoader(pairs(64), batch_size=16)),
    "partly trainable": (PartlyTrainable, None, lambda: PairsSimilarityDataLoader(pairs(64), batch_size=16)),
}


@pytest.mark.parametrize("case", CASES)
def test_cached_training_equals_uncached(case: str, tmp_path: Path) -> None:
    """From memory, from a disk that was empty, and from one that has everything."""
    kind, loss, loader = CASES[case]
    results = []
    on_disk = CacheConfig(batch_size=16, save_dir=tmp_path, num_workers=1)
    for cache in (None, CacheConfig(batch_size=16), on_disk, on_disk):
        model = kind(loss() if loss else None, frozen=True, cache=cache)
        trainer = train(model, loader(), loader())
        results.append((weights(model), trainer.callback_metrics))
    (plain, plain_metrics), *others = results
    for cached, cached_metrics in others:
        for name, expected in plain.items():
            torch.testing.assert_close(cached[name], expected, rtol=1e-4, atol=1e-6, msg=name)
        for name, expected in plain_metrics.items():
            torch.testing.assert_close(cached_metrics[name], expected, rtol=1e-4, atol=1e-5, msg=name)
    for name, expected in results[2][0].items():
        assert torch.equal(results[3][0][name], expected), name


def test_each_distinct_object_is_encoded_once() -> None:
    objects = numbers(0, 10)
    samples = [SimilarityPairSample(objects[i % 10], objects[(i * 3 + 1) % 10]) for i in range(50)]
    model = SmallModel(frozen=True, cache=CacheConfig())
    loader = PairsSimilarityDataLoader(samples, batch_size=10)
    train(model, loader, loader, epochs=4)
    assert model.model.encoders["default"].encoded == 10


def test_two_towers_with_one_encoder_share_its_vectors() -> None:
    model = SharedTowers(frozen=True, cache=CacheConfig())
    train(model, PairsSimilarityDataLoader(structured(), batch_size=16), epochs=3)
    assert model.model.encoders["query"].encoded == 128
    assert model.model.encoders["other"].encoded == 64


def test_a_fully_cached_data_set_is_read_once() -> None:
    class Counting(Dataset[Any]):
        reads = 0

        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            self.reads += 1
            return pairs(64)[index]

    reads = []
    for epochs in (1, 5):
        data = Counting()
        model = SmallModel(frozen=True, cache=CacheConfig())
        train(model, PairsSimilarityDataLoader(data, batch_size=16), epochs=epochs)
        reads.append(data.reads)
    assert reads[1] - reads[0] == 4 * 4, "a few in every epoch, for the check that they are what they were"
    assert reads[0] < 2 * 64, "once for the cache, and a few for the check that there is something to learn"


def test_new_content_in_every_epoch_is_refused() -> None:
    class Augmented(IterableDataset[Any]):
        epoch = 0

        def __iter__(self) -> Any:
            self.epoch += 1
            return iter(pairs(32, seed=self.epoch))

    with pytest.raises(ValueError, match=r"CacheType\.NONE"):
        train(
            SmallModel(frozen=True, cache=CacheConfig()), PairsSimilarityDataLoader(Augmented(), batch_size=8), epochs=2
        )


def test_a_data_set_that_changes_its_objects_is_noticed() -> None:
    class Augmented(Dataset[Any]):
        reads = 0

        def __len__(self) -> int:
            return 32

        def __getitem__(self, index: int) -> Any:
            self.reads += 1
            return pairs(32, seed=self.reads // 200)[index]

    with pytest.raises(ValueError, match=r"'default' is cached, and an object is not what it was .*CacheType\.NONE"):
        loader = PairsSimilarityDataLoader(Augmented(), batch_size=8)
        train(SmallModel(frozen=True, cache=CacheConfig()), loader, epochs=60)


def test_mapping_chooses_encoders() -> None:
    model = TwoEncoders(frozen=True, cache=CacheConfig(mapping={"a": CacheType.NONE}))
    train(model, PairsSimilarityDataLoader(pairs(32), batch_size=8), epochs=3)
    assert model.model.encoders["b"].encoded == 64
    assert model.model.encoders["a"].encoded == 3 * 64
    only_a = TwoEncoders(frozen=True, cache=CacheConfig(CacheType.NONE, mapping={"a": CacheType.CPU}))
    train(only_a, PairsSimilarityDataLoader(pairs(32), batch_size=8), epochs=3)
    assert only_a.model.encoders["a"].encoded == 64
    assert only_a.model.encoders["b"].encoded == 3 * 64


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CacheConfig(mapping={"missing": CacheType.CPU}), r"names the encoders \['missing'\], the model has"),
        (CacheConfig(mapping={"trainable": CacheType.CPU}), "trainable, so its embeddings change"),
        (CacheConfig(CacheType.GPU), "needs the model on a GPU"),
    ],
)
def test_configurations_that_cannot_be(config: CacheConfig, message: str) -> None:
    model = PartlyTrainable(cache=config)
    with pytest.raises(ValueError, match=message):
        train(model, PairsSimilarityDataLoader(pairs(32), batch_size=8))


def test_objects_without_a_content_key_need_an_extractor() -> None:
    class Opaque:
        def __init__(self, values: list[float], name: int) -> None:
            self.values, self.name = values, name

    class OpaqueEncoder(NumbersEncoder):
        def get_collate_fn(self) -> Any:
            return lambda objects: torch.tensor([obj.values for obj in objects])

    class Model(SmallModel):
        def configure_encoders(self) -> Any:
            return OpaqueEncoder(frozen=True)

    samples = [
        SimilarityPairSample(Opaque(p.obj_a, 2 * i), Opaque(p.obj_b, 2 * i + 1)) for i, p in enumerate(pairs(32))
    ]
    loader = PairsSimilarityDataLoader(samples, batch_size=8)
    with pytest.raises(TypeError, match="cannot cache encoder 'default'.*key_extractors"):
        train(Model(frozen=True, cache=CacheConfig()), loader)
    model = Model(frozen=True, cache=CacheConfig(key_extractors={"default": lambda obj: obj.name}))
    train(model, loader, epochs=3)
    assert model.model.encoders["default"].encoded == 64
