"""The cache on disk and encoders of classes that users wrote: never another encoder's vectors, never one twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import module_of
from small_models import pairs, quiet_trainer

from simlearn import CacheConfig, CacheType, Encoder, PairsSimilarityDataLoader, SkipConnectionHead, TrainableModel, fit
from simlearn.cache import EmbeddingCache
from simlearn.losses import MultipleNegativesRankingLoss

CODE = """
import functools
import torch
from simlearn import Encoder

SCALE = 1.0

def collate(objects, scale=1.0):
    return torch.tensor(objects) * scale

class Scaled(Encoder):
    trainable = False
    embedding_size = 4
    ratio = 1.0

    def __init__(self, scale=1.0):
        super().__init__()
        self.factor = scale
        self.extra = 0.0
        self.encoded = []

    def get_collate_fn(self):
        return functools.partial(collate, scale=1.0)

    def forward(self, batch):
        self.encoded.append(len(batch))
        return batch * self.factor * SCALE * self.ratio + self.extra
"""


class Model(TrainableModel):
    def __init__(self, encoder: Encoder, cache: CacheConfig | None) -> None:
        torch.manual_seed(0)
        self.given = [encoder]
        self.cache_config = cache
        super().__init__()

    def configure_encoders(self) -> Any:
        return self.given[0]

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> Any:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig | None:
        return self.cache_config


def run(encoder: Any, cache: CacheConfig) -> tuple[int, torch.Tensor]:
    """How many objects were encoded for the cache, and the vectors that it then has of half of them."""
    model = Model(encoder, cache)
    before = sum(encoder.encoded)
    loader = PairsSimilarityDataLoader(pairs(8), batch_size=8)
    fit(model, loader, trainer=quiet_trainer(max_epochs=1))
    return sum(encoder.encoded) - before, vectors(model, cache)


def vectors(model: Model, config: CacheConfig) -> torch.Tensor:
    """What the cache says of the objects, asked for by the encoder's identity."""
    cache = EmbeddingCache(model.model, config)
    part = model.model.plan["query"][0]
    rows = cache.add("query", [one.obj_a for one in pairs(8)])[part.name]
    embeddings, _ = cache.take(part, rows, torch.device("cpu"))
    return embeddings.values.clone()


def attribute(encoder: Any) -> None:
    encoder.extra = 1.0


def class_attribute(encoder: Any) -> None:
    type(encoder).ratio = 3.0


def global_(encoder: Any) -> None:
    type(encoder).forward.__globals__["SCALE"] = 3.0


def method(encoder: Any) -> None:
    def forward(self: Any, batch: Any) -> Any:
        self.encoded.append(len(batch))
        return batch + 5

    type(encoder).forward = forward


def collate_function(encoder: Any) -> None:
    collate = encoder.get_collate_fn()
    collate.keywords["scale"] = 3.0
    encoder.get_collate_fn = lambda: collate


def nothing(encoder: Any) -> None:
    pass


PAIRS: list[tuple[str, str, tuple[float, ...], Any]] = [
    ("argument", CODE, (3.0,), nothing),
    ("partial", CODE.replace("partial(collate, scale=1.0)", "partial(collate, scale=3.0)"), (), nothing),
    ("constant", CODE.replace("SCALE = 1.0", "SCALE = 3.0"), (), nothing),
    ("code", CODE.replace("+ self.extra", "- 1.0"), (), nothing),
    ("code of the collate function", CODE.replace("(objects) * scale", "(objects) + scale"), (), nothing),
    ("default", CODE.replace("scale=1.0):\n        super", "scale=3.0):\n        super"), (), nothing),
    ("attribute", CODE, (), attribute),
    ("class attribute", CODE, (), class_attribute),
    ("global", CODE, (), global_),
    ("method", CODE, (), method),
    ("shadowed collate function", CODE, (), collate_function),
]


@pytest.mark.parametrize(("code", "arguments", "change"), [one[1:] for one in PAIRS], ids=[one[0] for one in PAIRS])
def test_another_encoder_gets_vectors_of_its_own(
    code: str, arguments: tuple[float, ...], change: Any, tmp_path: Path
) -> None:
    cache = CacheConfig(save_dir=tmp_path / "cache")
    first = module_of(CODE, tmp_path).Scaled()
    count, mine = run(first, cache)
    assert count == 16
    other = module_of(code, tmp_path).Scaled(*arguments)
    change(other)
    count, others = run(other, cache)
    assert count == 16
    objects = torch.tensor([one.obj_a for one in pairs(8)])
    torch.testing.assert_close(mine, objects)
    torch.testing.assert_close(others, other.forward(other.get_collate_fn()(objects.tolist())))
    assert not torch.allclose(mine, others)
    count, again = run(module_of("# moved\n\n" + CODE, tmp_path).Scaled(), cache)
    assert count == 0
    assert torch.equal(again, mine)
    assert run(first, cache)[0] == 0, "the same object, after it has encoded"


class Untellable(Encoder):
    """It holds what nothing can be told of."""

    trainable = False  # type: ignore[assignment]
    embedding_size = 4  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.numbers: Iterator[int] = (one for one in range(3))
        self.lock = threading.Lock()
        self.encoded: list[int] = []

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Any) -> Any:
        self.encoded.append(len(batch))
        return batch


def test_what_cannot_be_told_is_refused_where_vectors_outlive_the_run(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'numbers' of 'encoder' is a builtins\.generator.*leave out save_dir"):
        run(Untellable(), CacheConfig(save_dir=tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [CacheType.AUTO, CacheType.CPU, CacheType.MMAP])
@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_cached_all_the_same_while_the_run_lasts(kind: CacheType, processes: int) -> None:
    encoder = Untellable()
    model = Model(encoder, CacheConfig(kind))
    options: dict[str, Any] = {"devices": 2, "strategy": "ddp_fork"} if processes == 2 else {}
    fit(model, PairsSimilarityDataLoader(pairs(8), batch_size=4), trainer=quiet_trainer(max_epochs=3, **options))
    if processes == 1:  # another process encodes in its own memory
        assert sum(encoder.encoded) == 16


def test_a_checkpoint_beside_it_keeps_its_weights(tmp_path: Path) -> None:
    """Nobody could say later whether another encoder's weights were filled in."""
    encoder = Untellable()
    encoder.register_buffer("kept", torch.arange(3.0))
    model = Model(encoder, CacheConfig())
    trainer = quiet_trainer(max_epochs=1)
    fit(model, PairsSimilarityDataLoader(pairs(8), batch_size=4), trainer=trainer)
    trainer.save_checkpoint(tmp_path / "kept.ckpt")

    other = Untellable()
    other.register_buffer("kept", torch.zeros(3))
    longer = quiet_trainer(max_epochs=2)
    resumed = Model(other, CacheConfig())
    loader = PairsSimilarityDataLoader(pairs(8), batch_size=4)
    fit(resumed, loader, trainer=longer, ckpt_path=str(tmp_path / "kept.ckpt"))
    assert torch.equal(other.get_buffer("kept"), torch.arange(3.0))
