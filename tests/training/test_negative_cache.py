"""Training beside a cache of earlier documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from cached_models import Cached, SaveAt, loader_of
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
from simlearn.training.objective import Objective
from simlearn.training.stage import TrainStage


class AsKept:
    """Encodes whatever is asked for as the first of some embeddings."""

    def __init__(self, kept: Tensor) -> None:
        self.kept = kept

    def encode(self, origins: Tensor, grad: bool, shared: bool) -> Embeddings:
        return Embeddings(self.kept[:1].expand(len(origins), -1))

    def read(self, origins: Tensor) -> list[Any]:
        raise NotImplementedError


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
        other = again.memory.state_dict()[name]
        assert value == other if isinstance(value, dict) else torch.equal(value, other), name


def test_the_batch_may_stay_out_of_it() -> None:
    """The softmax of the paper: over a query's own document and the cache; its listed negatives stay."""
    loss = MultipleNegativesRankingLoss(3.0)
    queries, documents, kept = (torch.randn(4, 3, generator=torch.Generator().manual_seed(n)) for n in range(3))
    memory = NegativeCacheMemory(NegativeCacheConfig(8, in_batch=False), loss, CosineScorer(), 3)
    ids = torch.arange(4)
    origins = torch.zeros(4, 2, dtype=torch.long)
    memory.remember(Embeddings(kept), Relation.from_pairs(torch.ones(4), ids=(ids + 10, ids + 20)), origins)
    relation = Relation.from_pairs(torch.tensor([1.0, 1.0, 1.0, 0.0]), ids=(ids[[0, 1, 2, 0]], ids + 30))
    objective = Objective(loss, CosineScorer(), [memory])
    outcome = objective.step(
        Embeddings(queries), Embeddings(documents), relation, TrainStage.TRAIN, 0, origins, AsKept(kept)
    )
    logits = 3 * F.normalize(queries, dim=1) @ F.normalize(torch.cat([documents, kept]), dim=1).T
    expected = []
    for row, others in ((0, [3]), (1, []), (2, [])):
        against = logits[row, [*others, 4, 5, 6, 7]].logsumexp(0)
        expected.append(F.softplus(against - logits[row, row]))
    # The first query has a twin, which shares what was judged.
    twin = F.softplus(logits[3, [3, 4, 5, 6, 7]].logsumexp(0) - logits[3, 0])
    torch.testing.assert_close(outcome.value, torch.stack([*expected, twin]).mean(), rtol=1e-5, atol=1e-6)


class Halves(Cached):
    def negative_cache_of(self, document: Any) -> str:
        return "left" if document[0] < 0 else "right"


def test_several_caches_by_name() -> None:
    model = Halves({"left": NegativeCacheConfig(10, refresh=2), "right": NegativeCacheConfig(20, start_filled=0.5)})
    trainer = quiet_trainer(max_epochs=3)
    fit(model, loader_of(), trainer=trainer)
    objects = [pair.obj_b for pair in pairs(64)]
    for name, size in (("left", 10), ("right", 20)):
        part: Any = model.memory.parts[name]
        kept = [objects[row] for row in part.origins[: len(part), 0].tolist()]
        assert (
            len(kept)
            == len({*map(tuple, kept)})
            == min(size, sum(model.negative_cache_of(one) == name for one in objects))
        )
        assert {model.negative_cache_of(one) for one in kept} == {name}
    assert float(trainer.callback_metrics["train_cache_fill"]) == 1.0


def test_of_several_caches_one_must_be_named() -> None:
    both = {"left": NegativeCacheConfig(10), "right": NegativeCacheConfig(10)}
    with pytest.raises(NotImplementedError, match=r"must define negative_cache_of\(document\)"):
        fit(Cached(both), loader_of(), trainer=quiet_trainer())
    with pytest.raises(ValueError, match=r"negative_cache_of named 'left', and the caches are \['a', 'b'\]"):
        fit(Halves({"a": both["left"], "b": both["right"]}), loader_of(), trainer=quiet_trainer())
    with pytest.raises(ValueError, match="draw as one, so samples must be the same"):
        Halves({"left": NegativeCacheConfig(10), "right": NegativeCacheConfig(10, samples=2)})
    with pytest.raises(ValueError, match="gave no cache; return None"):
        Cached({})


def test_other_caches_do_not_go_on(tmp_path: Path) -> None:
    path = tmp_path / "both.ckpt"
    both = {"left": NegativeCacheConfig(10), "right": NegativeCacheConfig(10)}
    fit(Halves(both), loader_of(), trainer=quiet_trainer(max_epochs=1, callbacks=[SaveAt(4, path)]))
    with pytest.raises(ValueError, match=r"were \['left', 'right'\], and are \['documents'\]"):
        fit(Cached(both["left"]), loader_of(), trainer=quiet_trainer(), ckpt_path=str(path))


def test_what_is_kept_may_be_without_dropout() -> None:
    model = Cached(NegativeCacheConfig(64, write="eval", samples=2), dropout=0.5, learning_rate=0.0)
    fit(model, loader_of(), trainer=quiet_trainer(max_epochs=2))
    part = model.memory._documents[0]
    objects = [pair.obj_b for pair in pairs(64)]
    served = F.normalize(torch.tensor(model.model.encode([objects[row] for row in part.origins[:, 0].tolist()])), dim=1)
    torch.testing.assert_close(part.cache.embeddings, served, rtol=1e-5, atol=1e-6)


class Stream(IterableDataset[SimilarityPairSample]):
    def __iter__(self) -> Any:
        return iter(pairs(64))


@pytest.mark.parametrize("two_towers", [False, True])
def test_documents_of_a_stream_are_kept(tmp_path: Path, two_towers: bool) -> None:
    """As those of a list, which are read again; and they are in the checkpoint."""
    path, found = tmp_path / "end.ckpt", []
    for data in (pairs(64), Stream()):
        model = Cached(NegativeCacheConfig(40, refresh=2), two_towers=two_towers, warmup=0)
        loader = PairsSimilarityDataLoader(data, 8, shuffle=None if isinstance(data, Stream) else False)
        fit(model, loader, trainer=quiet_trainer(callbacks=[SaveAt(16, path)]))
        found.append(weights(model))
    for name, one in found[0].items():
        assert name.endswith("origins") or torch.equal(one, found[1][name]), name
    again = Cached(NegativeCacheConfig(40, refresh=2), two_towers=two_towers)
    fit(again, PairsSimilarityDataLoader(Stream(), 8), trainer=quiet_trainer(), ckpt_path=str(path))
    kept = again.memory._documents[0]
    documents = kept.origins_at(torch.arange(40))
    assert isinstance(documents, list) and len(documents) == 40
    embeddings = again.model.encode_document(documents) if two_towers else again.model.encode(documents)
    assert float((F.normalize(torch.tensor(embeddings), dim=1) * kept.cache.embeddings).sum(1).min()) > 0.99


class TestRefused:
    def test_a_loss_without_logits(self) -> None:
        with pytest.raises(TypeError, match="TripletLoss takes no further logit, .* configure_xbm"):
            Cached(NegativeCacheConfig(8), TripletLoss())

    def test_groups(self) -> None:
        with pytest.raises(TypeError, match="pairs and rankings, not those of groups"):
            fit(Cached(NegativeCacheConfig(8)), GroupSimilarityDataLoader(groups(16), 8), trainer=quiet_trainer())

    def test_documents_of_a_stream_that_no_checkpoint_holds(self) -> None:
        class Images(IterableDataset[SimilarityPairSample]):
            def __iter__(self) -> Any:
                return iter([SimilarityPairSample(one.obj_a, np.array(one.obj_b)) for one in pairs(16)])

        with pytest.raises(TypeError, match=r"checkpoint cannot hold a ndarray; .* CacheConfig"):
            fit(Cached(NegativeCacheConfig(8)), PairsSimilarityDataLoader(Images(), 8), trainer=quiet_trainer())

    def test_a_cache_that_is_never_filled(self) -> None:
        with pytest.raises(ValueError, match=r"once it holds 100 documents .* and there are 64 to train on"):
            fit(Cached(NegativeCacheConfig(200, start_filled=0.5)), loader_of(), trainer=quiet_trainer())

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
