"""Training beside a cache of earlier documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from small_models import SmallModel, groups, numbers, pairs, quiet_trainer, weights
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset

from simlearn import (
    CacheConfig,
    Embeddings,
    GroupSimilarityDataLoader,
    InfoNCELoss,
    MultipleNegativesRankingLoss,
    NegativeCacheConfig,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityPairSample,
    SimilarityRankingSample,
    TripletLoss,
    XbmConfig,
    fit,
)
from simlearn.losses import SimilarityLoss
from simlearn.negatives.negative_cache.memory import NegativeCacheMemory
from simlearn.relations import Relation
from simlearn.scoring import CosineScorer


class Cached(SmallModel):
    def __init__(self, config: NegativeCacheConfig, loss: SimilarityLoss | None = None, **options: Any) -> None:
        self.cached = config
        super().__init__(loss, **options)

    def configure_negative_cache(self) -> NegativeCacheConfig:
        return self.cached

    @property
    def memory(self) -> NegativeCacheMemory:
        memory = self.memories["negative_cache"]
        if not isinstance(memory, NegativeCacheMemory):
            raise TypeError
        return memory


class AsKept:
    """Encodes whatever is asked for as the first of some embeddings."""

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def encode(self, origins: Tensor, grad: bool, shared: bool) -> Embeddings:
        return Embeddings(self.kept[:1].expand(len(origins), -1))

    def read(self, origins: Tensor) -> list[Any]:
        raise NotImplementedError


def loader_of(count: int = 64, batch_size: int = 8, **options: Any) -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(pairs(count), batch_size, **options)


def test_the_cache_fills_and_says_how_it_is() -> None:
    model = Cached(NegativeCacheConfig(40, refresh=3))
    trainer = quiet_trainer(max_epochs=2)
    fit(model, loader_of(), trainer=trainer)
    told = {name.removeprefix("train_"): float(value) for name, value in trainer.callback_metrics.items()}
    assert len(model.memory) == 40 and told["cache_fill"] == 1.0
    assert told["cache_staleness"] > 0 and 0 <= told["cache_age"] <= told["cache_age_p95"]
    assert "cache_duplicates" in told and "cache_positive_hits" in told
    assert bool((model.memory._documents[0].origins >= 0).all())


@pytest.mark.parametrize("loss", [MultipleNegativesRankingLoss(5.0), InfoNCELoss(0.2, learnable_temperature=True)])
def test_the_loss_is_the_softmax_over_batch_and_cache(loss: Any) -> None:
    model = Cached(NegativeCacheConfig(100), loss)
    fit(model, loader_of(), trainer=quiet_trainer(max_epochs=1))
    memory, generator = model.memory, torch.Generator().manual_seed(5)
    queries, documents = (torch.randn(4, 8, generator=generator) for _ in range(2))
    ids = torch.arange(4) + 10_000
    relation = Relation.from_pairs(torch.ones(4), ids=(ids, ids + 100))
    kept = memory._documents[0].cache.embeddings[: len(memory)].clone()
    extra = memory.beside(
        loss,
        Embeddings(queries),
        Embeddings(documents),
        relation,
        CosineScorer(),
        AsKept(kept),
    )
    assert extra is not None
    inner: Any = loss
    scale = float(torch.as_tensor(inner.logit_scale).detach())
    both = scale * F.normalize(queries, dim=1) @ torch.cat([F.normalize(documents, dim=1), kept]).T
    expected = F.cross_entropy(both, torch.arange(4))
    inner.symmetric = False
    found = inner.compute(Embeddings(queries), Embeddings(documents), relation, CosineScorer(), extra=extra).value
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_what_is_known_of_a_document_holds() -> None:
    """Its own query, whoever judged it, equal objects and equal subgroups: none of them has it for a negative."""
    memory = NegativeCacheMemory(NegativeCacheConfig(10), MultipleNegativesRankingLoss(), CosineScorer(), 2)
    earlier = Relation.from_pairs(
        torch.tensor([1.0, 0.0, 1.0, 1.0]),
        torch.tensor([0, 0, 7, 0]),
        ids=(torch.tensor([1, 2, 3, 4]), torch.tensor([11, 12, 13, 5])),
    )
    memory.remember(Embeddings(torch.randn(4, 2)), earlier, torch.zeros(4, 2, dtype=torch.long))
    now = Relation.from_pairs(
        torch.ones(4),
        torch.tensor([0, 7, 0, 0]),
        ids=(torch.tensor([1, 20, 5, 21]), torch.tensor([30, 31, 32, 12])),
    )
    own = {(int(query), int(document)) for query, document in memory._own(now).T}
    kept = {(query, document) for query, document in own if document in (11, 12, 13, 5)}
    assert kept == {(0, 11), (1, 13), (2, 5), (3, 12)}


def test_it_counts_once_it_is_filled() -> None:
    def losses(config: NegativeCacheConfig | None) -> list[float]:
        found: list[float] = []

        class Keep(pl.Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
                found.append(float(outputs["loss"]))

        trainer = quiet_trainer(max_epochs=1, callbacks=[Keep()])
        fit(SmallModel() if config is None else Cached(config), loader_of(), trainer=trainer)
        return found

    plain, cached = losses(None), losses(NegativeCacheConfig(64, start_filled=0.5))
    assert cached[:4] == plain[:4] and cached[4] > plain[4]


@pytest.mark.parametrize("cache", [None, CacheConfig()], ids=["encoded", "cached vectors"])
def test_documents_of_frozen_encoders_are_encoded_by_the_head(cache: CacheConfig | None) -> None:
    model = Cached(NegativeCacheConfig(40, samples=2), frozen=True, cache=cache)
    fit(model, loader_of(), trainer=quiet_trainer(max_epochs=2))
    assert len(model.memory) == 40


def test_rankings_and_their_hard_negatives() -> None:
    made = [SimilarityRankingSample(one[0], one[1:], [1.0, 0.0]) for one in (numbers(n, 3) for n in range(32))]
    model = Cached(NegativeCacheConfig(40))
    fit(model, RankingSimilarityDataLoader(made, 8), trainer=quiet_trainer(max_epochs=1))
    assert len(model.memory) == 40 and set(model.memory._documents[0].origins[:, 1].tolist()) == {0, 1}


class SaveAt(pl.Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    path = tmp_path / "middle.ckpt"
    whole = Cached(NegativeCacheConfig(40, top_k=10, refresh=2))
    fit(whole, loader_of(), trainer=quiet_trainer(max_epochs=2, callbacks=[SaveAt(11, path)]))
    again = Cached(NegativeCacheConfig(40, top_k=10, refresh=2), seed=9)
    torch.manual_seed(77)
    fit(again, loader_of(), trainer=quiet_trainer(max_epochs=2), ckpt_path=str(path))
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    for name, value in whole.memory.state_dict().items():
        assert torch.equal(value, again.memory.state_dict()[name]), name


def trainer_of(processes: int, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": processes,
        "strategy": "ddp_fork" if processes > 1 else "auto",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "precision": "64-true",
    }
    return pl.Trainer(**settings | options)


def documents_of(model: Cached) -> dict[int, list[float]]:
    """What is kept, by id."""
    return {
        int(name): row
        for part in model.memory._documents
        for name, row in zip(part.cache.ids[: len(part)], part.cache.embeddings.double().tolist(), strict=False)
    }


# What is drawn by chance alone depends on how documents are dealt; of the best few it does not.
AS_ONE: dict[str, dict[str, Any]] = {
    "replicated": {"size": 40, "samples": 2, "refresh": 3, "distributed": "replicated"},
    "the best few": {"size": 128, "top_k": 10, "samples": 2},
    "the best": {"size": 128, "sampler": "highest", "in_batch": False},
    "written without dropout": {"size": 128, "top_k": 5, "write": "eval", "eviction": "fifo"},
    "steeper": {"size": 128, "top_k": 5, "inv_temp": 2.0},
}


@pytest.mark.parametrize("options", AS_ONE.values(), ids=AS_ONE)
def test_two_processes_train_as_one(options: dict[str, Any]) -> None:
    found, kept = [], []
    for processes in (1, 2):
        model = Cached(NegativeCacheConfig(**options)).double()
        fit(model, loader_of(batch_size=16 // processes), trainer=trainer_of(processes))
        found.append(weights(model))
        kept.append(documents_of(model))
    for name, one in found[0].items():
        if name.startswith("memories."):  # another order of rows
            continue
        torch.testing.assert_close(one, found[1][name], rtol=1e-6, atol=1e-7)
    assert kept[0].keys() == kept[1].keys()
    for name, row in kept[0].items():
        assert row == pytest.approx(kept[1][name], rel=1e-5, abs=1e-6)


class Stream(IterableDataset[SimilarityPairSample]):
    def __iter__(self) -> Any:
        return iter(pairs(16))


class TestRefused:
    def test_a_loss_without_logits(self) -> None:
        with pytest.raises(TypeError, match="TripletLoss takes no further logit, .* configure_xbm"):
            Cached(NegativeCacheConfig(8), TripletLoss())

    def test_groups(self) -> None:
        with pytest.raises(TypeError, match="pairs and rankings, not those of groups"):
            fit(Cached(NegativeCacheConfig(8)), GroupSimilarityDataLoader(groups(16), 8), trainer=quiet_trainer())

    def test_streams(self) -> None:
        loader = PairsSimilarityDataLoader(Stream(), 8)
        with pytest.raises(TypeError, match="samples of a stream cannot be read again"):
            fit(Cached(NegativeCacheConfig(8)), loader, trainer=quiet_trainer())

    def test_another_size(self, tmp_path: Path) -> None:
        path = tmp_path / "small.ckpt"
        fit(
            Cached(NegativeCacheConfig(8)),
            loader_of(),
            trainer=quiet_trainer(max_epochs=1, callbacks=[SaveAt(4, path)]),
        )
        with pytest.raises(
            ValueError, match="kept 8 documents in torch.float32, and this one keeps 16 in torch.float32"
        ):
            fit(Cached(NegativeCacheConfig(16)), loader_of(), trainer=quiet_trainer(max_epochs=2), ckpt_path=str(path))

    def test_what_is_no_config(self) -> None:
        with pytest.raises(TypeError, match="configure_negative_cache must return a NegativeCacheConfig"):
            Cached(XbmConfig())  # type: ignore[arg-type]


def extra_logits(loss: SimilarityLoss, size: int) -> tuple[Tensor, Tensor]:
    """A loss with one more logit against each query, and with one more document that is a negative of all."""
    generator = torch.Generator().manual_seed(0)
    queries, documents = (torch.randn(n, 3, generator=generator).double() for n in (size, size + 1))
    inner: Any = loss
    scores = float(inner.logit_scale) * F.normalize(queries, dim=1) @ F.normalize(documents, dim=1)[-1]
    few = Relation.from_pairs(torch.ones(size))
    positive = torch.eye(size, size + 1, dtype=torch.bool)
    many = Relation.from_matrix(positive)
    scorer = CosineScorer()
    one = inner.compute(Embeddings(queries), Embeddings(documents[:-1]), few, scorer, extra=scores).value
    return one, inner.compute(Embeddings(queries), Embeddings(documents), many, scorer).value


@pytest.mark.parametrize(
    "loss",
    [
        MultipleNegativesRankingLoss(3.0),
        InfoNCELoss(0.5, symmetric=False, positives="supcon"),
        InfoNCELoss(0.5, symmetric=False, positives="any", margin=0.2),
    ],
)
@pytest.mark.parametrize("tile_bytes", [1, 2**26])
def test_an_extra_logit_is_a_document_more(loss: SimilarityLoss, tile_bytes: int) -> None:
    loss.tile_bytes = tile_bytes
    torch.testing.assert_close(*extra_logits(loss, 5))
