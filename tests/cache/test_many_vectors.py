"""Token matrices are cached through training: it goes as without a cache, wherever they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import quiet_trainer, weights
from tiny_servables import ManyVectors
from torch import Tensor

from simlearn import (
    CacheConfig,
    CacheType,
    GroupSimilarityDataLoader,
    MLPHead,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    Scorer,
    SimilarityGroupSample,
    SimilarityPairSample,
    SkipConnectionHead,
    TrainableModel,
    TripletLoss,
    TwoTower,
    fit,
)
from simlearn.embeddings import Embeddings


class MaxSim(Scorer):
    """Late interaction: each vector of a query looks for its best in the document (Khattab and Zaharia 2020)."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = torch.einsum("nqd,mpd->nmqp", queries.values, documents.values)
        best = products.masked_fill(~documents.full_mask()[None, :, None], -torch.inf).amax(-1)
        return (best * queries.full_mask()[:, None]).sum(-1).float()


class Letters(ManyVectors):
    """Counts the texts it encodes."""

    encoded = 0

    def forward(self, batch: dict[str, Tensor]) -> Any:
        self.encoded += len(batch["codes"])
        return super().forward(batch)


class LateInteraction(TrainableModel):
    def __init__(self, loss: Any, cache: CacheConfig | None, two_towers: bool) -> None:
        torch.manual_seed(0)
        self.cache, self.two_towers = cache, two_towers
        self.given = [loss]
        super().__init__()

    def configure_encoders(self) -> Any:
        letters = Letters(6, frozen=True)
        return TwoTower(query=letters, document=letters.with_prompt("text: ")) if self.two_towers else letters

    def configure_head(self, input_embedding_size: int) -> Any:
        return MLPHead(input_embedding_size, [5], 4) if self.two_towers else SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> Any:
        return self.given[0]

    def configure_scorer(self) -> Scorer:
        return MaxSim()

    def configure_caches(self) -> CacheConfig | None:
        return self.cache


TEXTS = [f"{'ab' * (number % 7)}{number} {'c' * (number % 3)}" for number in range(48)]


def loader(kind: str) -> Any:
    if kind == "groups":
        samples = [SimilarityGroupSample(text, f"group {row // 4}") for row, text in enumerate(TEXTS)]
        return GroupSimilarityDataLoader(samples, batch_size=16)
    pairs = [SimilarityPairSample(text, TEXTS[(row * 5 + 1) % 48]) for row, text in enumerate(TEXTS)]
    return PairsSimilarityDataLoader(pairs, batch_size=16)


def trained(kind: str, cache: CacheConfig | None) -> tuple[dict[str, Tensor], list[float], int]:
    loss = TripletLoss() if kind == "groups" else MultipleNegativesRankingLoss()
    model = LateInteraction(loss, cache, two_towers=kind == "two towers")
    torch.manual_seed(1)
    trainer = quiet_trainer(max_epochs=3)
    seen = list[float]()
    step = model.training_step

    def remembering(*arguments: Any) -> Any:
        value = step(*arguments)
        seen.append(float(value.detach()))
        return value

    model.training_step = remembering  # type: ignore[method-assign]
    fit(model, loader(kind), trainer=trainer)
    encoder = next(iter(model.model.plan.encoders.values()))
    assert isinstance(encoder, Letters)
    return weights(model), seen, encoder.encoded


@pytest.mark.parametrize("kind", ["pairs", "groups", "two towers"])
@pytest.mark.parametrize("where", ["memory", "mapped", "disk"])
def test_cached_training_equals_uncached(kind: str, where: str, tmp_path: Path) -> None:
    caches = {
        "memory": CacheConfig(batch_size=5),
        "mapped": CacheConfig(CacheType.MMAP, batch_size=5),
        "disk": CacheConfig(save_dir=tmp_path, batch_size=5),
    }
    plain, plain_losses, plain_encoded = trained(kind, None)
    cached, losses, encoded = trained(kind, caches[where])
    distinct = 48 if kind != "two towers" else 96
    assert encoded == distinct < plain_encoded
    assert len(losses) == len(plain_losses) == 9 and losses[-1] != losses[0]
    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for name, tensor in plain.items():
        assert torch.allclose(cached[name], tensor, rtol=1e-4, atol=1e-6), name
    if where == "disk":
        again, same, encoded = trained(kind, caches[where])
        assert encoded == 0 and same == losses
        assert all(torch.equal(again[name], tensor) for name, tensor in cached.items())
