"""Small trainable models and data for the tests of training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from simlearn import (
    CacheConfig,
    Encoder,
    EncoderHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityGroupSample,
    SimilarityLoss,
    SimilarityPairSample,
    SkipConnectionHead,
    TrainableModel,
    TwoTower,
    XbmConfig,
)


class NumbersEncoder(Encoder):
    """A linear layer over lists of numbers; counts the objects it encodes."""

    def __init__(self, size: int = 4, output: int = 8, frozen: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = {"size": size, "output": output, "frozen": frozen, "dropout": dropout}
        self.linear = nn.Linear(size, output)
        self.dropout = nn.Dropout(dropout)
        self.encoded = 0

    @property
    def trainable(self) -> bool:
        return not self.config["frozen"]

    @property
    def embedding_size(self) -> int:
        return int(self.config["output"])

    def get_collate_fn(self) -> Any:
        return _as_tensor

    def forward(self, batch: Tensor) -> Tensor:
        self.encoded += len(batch)
        return self.dropout(self.linear(batch))

    def get_config_dict(self) -> dict[str, Any]:
        return self.config


def _as_tensor(objects: list[Any]) -> Tensor:
    return torch.tensor(objects, dtype=torch.get_default_dtype())


class SmallModel(TrainableModel):
    """One tower, or two, over `NumbersEncoder`."""

    def __init__(
        self,
        loss: SimilarityLoss | None = None,
        *,
        frozen: bool = False,
        cache: CacheConfig | None = None,
        two_towers: bool = False,
        head: bool = True,
        dropout: float = 0.0,
        seed: int = 0,
        xbm: XbmConfig | None = None,
        **options: Any,
    ) -> None:
        torch.manual_seed(seed)
        self.xbm_config = xbm
        self.options = {"frozen": frozen, "cache": cache, "two_towers": two_towers, "head": head, "dropout": dropout}
        # In a list: torch takes no module before the constructor has run.
        self.given = [loss if loss is not None else MultipleNegativesRankingLoss()]
        super().__init__(**options)

    def configure_encoders(self) -> Any:
        def encoder() -> NumbersEncoder:
            return NumbersEncoder(frozen=self.options["frozen"], dropout=self.options["dropout"])

        return TwoTower(query=encoder(), document=encoder()) if self.options["two_towers"] else encoder()

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        if self.options["head"]:
            return SkipConnectionHead(input_embedding_size)
        return super().configure_head(input_embedding_size)

    def configure_loss(self) -> SimilarityLoss:
        return self.given[0]

    def configure_caches(self) -> CacheConfig | None:
        return self.options["cache"]

    def configure_xbm(self) -> XbmConfig | None:
        return self.xbm_config


def numbers(seed: int, count: int) -> list[list[float]]:
    """Objects, all different."""
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)).tolist()


def pairs(count: int = 64, seed: int = 0) -> list[SimilarityPairSample]:
    """Pairs of nearly equal objects."""
    first = torch.tensor(numbers(seed, count))
    second = first + 0.1 * torch.tensor(numbers(seed + 1, count))
    return [SimilarityPairSample(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]


def groups(count: int = 64, members: int = 4, seed: int = 0) -> list[SimilarityGroupSample]:
    """Groups of nearly equal objects."""
    centres = torch.tensor(numbers(seed, count // members)).repeat_interleave(members, dim=0)
    objects = centres + 0.1 * torch.tensor(numbers(seed + 1, len(centres)))
    return [SimilarityGroupSample(obj, f"group {row // members}") for row, obj in enumerate(objects.tolist())]


def weights(model: TrainableModel) -> dict[str, Tensor]:
    """A copy of everything that training may change."""
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


def quiet_trainer(**options: Any) -> pl.Trainer:
    """A trainer of two epochs that shows and writes nothing."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**settings, **options})


def small_pairs(**options: Any) -> PairsSimilarityDataLoader:
    """64 pairs in batches of 16."""
    return PairsSimilarityDataLoader(pairs(), batch_size=16, **options)
