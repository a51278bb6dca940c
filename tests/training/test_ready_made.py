"""Bi-encoders, Poly-encoders and late interaction, trained from random weights, saved and served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import quiet_trainer
from tiny_models import tiny_gpt2, tiny_transformer
from torch.nn import functional as F

import simlearn
from simlearn import (
    AttentionPooling,
    BiEncoder,
    CacheConfig,
    LateInteraction,
    LearntCodes,
    MaxSim,
    MultipleNegativesRankingLoss,
    NegativeCacheConfig,
    PairsSimilarityDataLoader,
    PolyAttention,
    PolyEncoder,
    RetrievalEvaluator,
    SequentialHead,
    SimilarityModel,
    SimilarityPairSample,
    TextEncoder,
    TokenProjection,
    TransformerEncoder,
)
from simlearn.training import TrainableModel

FILLERS = ["query", "passage", "world", "the", "of"]
TOPICS = ["red green blue", "spoon fork knife", "cat dog hello", "list sort document"]


def pairs(count: int = 64) -> list[SimilarityPairSample]:
    """A query of two words of a topic, and a document that names the third and a number."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        words = TOPICS[number % 4].split()
        order = torch.randperm(3, generator=generator).tolist()
        filler = FILLERS[int(torch.randint(len(FILLERS), (1,), generator=generator))]
        query, document = f"{words[order[0]]} {words[order[1]]}", f"{filler} {words[order[2]]}"
        made.append(SimilarityPairSample(query, document, subgroup=number % 4))
    return made


MAKERS: dict[str, Any] = {
    "bi-encoder": BiEncoder,
    "codes": lambda body, **options: PolyEncoder(body, codes=4, **options),
    "first m": lambda body, **options: PolyEncoder(body, codes=3, variant="first", **options),
    "ParlAI's": lambda body, **options: PolyEncoder(body, codes=4, attention="multihead", **options),
    "late interaction": lambda body, **options: LateInteraction(body, size=16, **options),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def searching(model: Any) -> float:
    """How often one of the documents of a query's topic is first."""
    queries = [" ".join(topic.split()[:2]) for topic in TOPICS]
    documents = [topic.split()[2] for topic in TOPICS]
    report = RetrievalEvaluator(queries, documents, [[row] for row in range(4)], metrics=["mrr"]).evaluate(model=model)
    return float(report["mrr"])


@each_maker
@pytest.mark.parametrize("kind", [tiny_transformer, tiny_gpt2], ids=["bert", "gpt-2"])
def test_they_learn_and_are_served(make: Any, kind: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = TransformerEncoder(kind(tmp_path / "body"), trainable=True)
    model = make(body, learning_rate=1e-3, encoder_learning_rate=1e-3)
    simlearn.fit(model, PairsSimilarityDataLoader(pairs(), 16), trainer=quiet_trainer(max_epochs=60))
    assert searching(model) > 0.8
    model.save_servable(str(tmp_path / "servable"))
    served = SimilarityModel.load(tmp_path / "servable")
    documents = [topic.split()[2] for topic in TOPICS]
    ranked = served.rank("red green", documents)
    assert ranked[0][0] == 0
    assert [place for place, _ in ranked] == [place for place, _ in model.model.rank("red green", documents)]
    stored = served.encode_to_disk(documents, tmp_path / "documents", role="document")
    assert [place for place, _ in served.rank("red green", stored)] == [place for place, _ in ranked]


@each_maker
def test_the_body_is_there_once(make: Any, tmp_path: Path) -> None:
    body = TransformerEncoder(tiny_transformer(tmp_path / "body"))
    model = make(body)
    assert len(model.model.encoders) == 1
    model.save_servable(str(tmp_path / "servable"))
    weights = [path.relative_to(tmp_path / "servable") for path in (tmp_path / "servable").rglob("*.safetensors")]
    assert sum("sentence_transformer" in str(path) for path in weights) == 1
    if isinstance(model, PolyEncoder) and model.variant == "codes":
        assert any(path.parts[:2] == ("heads", "query") for path in weights), weights


class Cached(PolyEncoder):
    def configure_caches(self) -> CacheConfig:
        return CacheConfig()


def test_tokens_of_a_frozen_body_are_encoded_once(tmp_path: Path) -> None:
    counts: list[int] = []

    class Counting(TransformerEncoder):
        def forward(self, batch: Any) -> Any:
            counts.append(len(batch["input_ids"]))
            return super().forward(batch)

    model = Cached(Counting(tiny_transformer(tmp_path / "body")), codes=4, learning_rate=1e-2)
    simlearn.fit(model, PairsSimilarityDataLoader(pairs(), 16), trainer=quiet_trainer(max_epochs=5))
    distinct = {text for pair in pairs() for text in (pair.obj_a, pair.obj_b)}
    assert sum(counts) == len(distinct)


def test_a_negative_cache_keeps_the_candidates(tmp_path: Path) -> None:
    """They have one vector, though a query has many; those of late interaction are refused."""

    class Beside(PolyEncoder):
        def configure_negative_cache(self) -> NegativeCacheConfig:
            return NegativeCacheConfig(32, samples=2)

    class Refused(LateInteraction):
        def configure_negative_cache(self) -> NegativeCacheConfig:
            return NegativeCacheConfig(32)

    body = TransformerEncoder(tiny_transformer(tmp_path / "body"))
    model, trainer = Beside(body, codes=4), quiet_trainer(max_epochs=2)
    simlearn.fit(model, PairsSimilarityDataLoader(pairs(), 16), trainer=trainer)
    assert float(trainer.callback_metrics["train_cache_fill"]) > 0.5
    with pytest.raises(TypeError, match="these have many: pool them in the document tower, .* configure_xbm"):
        simlearn.fit(Refused(body, size=8), PairsSimilarityDataLoader(pairs(), 16), trainer=quiet_trainer())


def test_the_seeds_variant(tmp_path: Path) -> None:
    """Projections to 64 values of unit length, a code for candidates, and the cosine of what these find, times 5."""

    class Seed(PolyEncoder):
        def configure_query_head(self, size: int) -> Any:
            return SequentialHead(LearntCodes(size, 16), TokenProjection(size, 64), output_size=64)

        def configure_document_head(self, size: int) -> Any:
            return SequentialHead(AttentionPooling(size), TokenProjection(size, 64), output_size=64)

        def configure_scorer(self) -> Any:
            return PolyAttention(normalize=True)

        def configure_loss(self) -> Any:
            return MultipleNegativesRankingLoss(scale=5.0)

    model = Seed(TransformerEncoder(tiny_transformer(tmp_path / "body"), trainable=True))
    texts = ["red spoon", "a cat"]
    scores = torch.tensor(model.model.similarity(texts, texts))
    codes, documents = model.model.embed(texts, "query").values, model.model.embed(texts, "document").values
    attended = torch.einsum("nki,nid->nkd", torch.einsum("nid,kd->nki", codes, documents).softmax(2), codes)
    torch.testing.assert_close(scores, F.cosine_similarity(attended, documents[None], dim=2))
    assert float(scores.abs().max()) <= 1 + 1e-6
    simlearn.fit(model, PairsSimilarityDataLoader(pairs(), 16), trainer=quiet_trainer(max_epochs=1))


def test_two_bodies_and_pooled_ones(tmp_path: Path) -> None:
    first, second = (TransformerEncoder(tiny_transformer(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert len(PolyEncoder(first, second, codes=2).model.encoders) == 2
    pooled = BiEncoder(TextEncoder(tiny_transformer(tmp_path / "pooled")))
    assert pooled.model.encode_query(["a"]).shape == (1, 32)
    assert isinstance(LateInteraction(first).model.scorer, MaxSim) and isinstance(pooled, TrainableModel)
    with pytest.raises(ValueError, match="'codes' or 'first', got 'all'"):
        PolyEncoder(first, variant="all")  # type: ignore[arg-type]
