"""What could not be saved is said before the first step; what could not be keyed is refused there."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import NumbersEncoder, quiet_trainer
from torch import Tensor

from simlearn import (
    CacheConfig,
    CacheType,
    Encoder,
    EncoderHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    PairwiseLoss,
    SimilarityPairSample,
    SkipConnectionHead,
    TrainableModel,
    fit,
)


class Cleaning(Encoder):
    """As users write them: a lambda among the arguments, or a connection that is open."""

    def __init__(self, clean: Any = None, connection: Any = None) -> None:
        super().__init__()
        self.clean = clean
        self.connection = connection
        self.steps: list[int] = []

    @property
    def trainable(self) -> bool:
        return False

    @property
    def embedding_size(self) -> int:
        return 2

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Tensor) -> Tensor:
        return batch if self.clean is None else self.clean(batch)


class Doubling(EncoderHead):
    """Keeps its argument nowhere that one could find it, and it is no number."""

    def __init__(self, input_embedding_size: int, how: Any) -> None:
        super().__init__(input_embedding_size)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.way = how

    @property
    def output_size(self) -> int:
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        return self.way(input_vectors) * self.scale


class Secretive(PairwiseLoss):
    """A loss whose argument nobody can tell."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, secret: float) -> None:
        super().__init__()
        self._hidden_value = secret

    def forward(self, embeddings: Tensor, pairs: Tensor, labels: Tensor, subgroups: Tensor) -> Tensor:
        return (embeddings * self._hidden_value).square().mean()


class Model(TrainableModel):
    def __init__(self, encoder: Encoder, head: EncoderHead | None = None, cache: Any = None, loss: Any = None) -> None:
        self.given = [encoder, head, cache, loss]
        super().__init__()

    def configure_encoders(self) -> Encoder:
        return self.given[0]

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        return self.given[1] or SkipConnectionHead(input_embedding_size)

    def configure_caches(self) -> Any:
        return self.given[2]

    def configure_loss(self) -> Any:
        return self.given[3] or MultipleNegativesRankingLoss()


def loader() -> PairsSimilarityDataLoader:
    pairs = [SimilarityPairSample([float(n), 1.0], [float(n), 2.0]) for n in range(8)]
    return PairsSimilarityDataLoader(pairs, batch_size=4)


def trained(model: Model) -> list[str]:
    """What was warned of before the first step, about saving."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        fit(model, loader(), trainer=quiet_trainer(max_epochs=1))
    return [str(one.message) for one in heard if "cannot be saved" in str(one.message)]


@pytest.mark.parametrize("cache", [None, CacheConfig(), CacheConfig(cache_type=CacheType.MMAP)], ids=str)
def test_it_trains_with_a_warning_that_names_cause_and_cure(cache: Any, tmp_path: Path) -> None:
    model = Model(Cleaning(lambda batch: batch * 2), cache=cache)
    (warned,) = trained(model)
    assert "clean" in warned and "lambda" in warned and "define it at the top of a module" in warned
    with pytest.raises(TypeError, match="clean"):
        model.save_servable(str(tmp_path / "servable"))
    assert not (tmp_path / "servable").exists()


def test_a_head_likewise() -> None:
    (warned,) = trained(Model(Cleaning(), Doubling(2, lambda x: x)))
    assert "Doubling" in warned or "how" in warned


@pytest.mark.parametrize("encoder", [Cleaning(), NumbersEncoder(2, 8, frozen=True)], ids=["plain", "with a config"])
def test_what_can_be_saved_says_nothing(encoder: Encoder, tmp_path: Path) -> None:
    model = Model(encoder)
    assert not trained(model)
    model.save_servable(str(tmp_path / "servable"))


def test_what_cannot_be_told_is_refused_by_a_cache_on_disk_before_anything_is_encoded(tmp_path: Path) -> None:
    with socket.socket() as connection:
        encoder = Cleaning(connection=connection)
        model = Model(encoder, cache=CacheConfig(save_dir=tmp_path / "cache"))
        says = r"encoder 'default' cannot be cached on disk.*connection.*socket.*fingerprint_settings.*save_dir"
        with pytest.raises(TypeError, match=says):
            fit(model, loader(), trainer=quiet_trainer(max_epochs=1))
        assert not list(tmp_path.rglob("*.json"))
        for cache in (None, CacheConfig(), CacheConfig(cache_type=CacheType.MMAP)):
            fit(Model(encoder, cache=cache), loader(), trainer=quiet_trainer(max_epochs=1))


def test_a_loss_that_tells_nothing_does_not_end_the_training(tmp_path: Path) -> None:
    model = Model(Cleaning(), loss=Secretive(2.0))
    fit(model, loader(), trainer=quiet_trainer(max_epochs=1))
    assert model.model.card.training["loss"] == "Secretive(...)"
