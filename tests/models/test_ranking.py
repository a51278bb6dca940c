"""Ranking candidates that were encoded before, and once more by another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from simlearn import DotScorer, Embeddings, EncodedObjects, Encoder, SimilarityModel
from simlearn.scoring import Scorer

TEXTS = ["red apple", "green apple", "a red house", "blue", "", "the green house over there", "red"]


class Letters(Encoder):
    """One vector a text: how often it has each letter; or one a word."""

    def __init__(self, words: bool = False) -> None:
        super().__init__()
        self.words = words

    @property
    def many_vectors(self) -> bool:
        return self.words

    @property
    def trainable(self) -> bool:
        return False

    @property
    def embedding_size(self) -> int:
        return 26

    def get_collate_fn(self) -> Any:
        return self._collate

    def _collate(self, texts: list[str]) -> Any:
        parts = [text.split() if self.words else [text] for text in texts]
        longest = max(map(len, parts), default=0)
        values = torch.zeros(len(texts), longest, 26)
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for row, words in enumerate(parts):
            for place, word in enumerate(words):
                mask[row, place] = True
                for letter in word.replace(" ", ""):
                    values[row, place, ord(letter) - 97] += 1
        return {"values": values, "mask": mask}

    def forward(self, batch: Any) -> Any:
        return Embeddings(batch["values"], batch["mask"]) if self.words else batch["values"][:, 0]

    def get_config_dict(self) -> dict[str, Any]:
        return {"words": self.words}


class LateInteraction(Scorer):
    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = torch.einsum("nqd,mtd->nmqt", queries.blank().values, documents.blank().values)
        if documents.mask is not None:
            products = products.masked_fill(~documents.mask[None, :, None, :], -torch.inf)
        return products.amax(3).sum(2) if products.shape[3] else products.new_full(products.shape[:2], -torch.inf)


@pytest.fixture
def single() -> SimilarityModel:
    return SimilarityModel(Letters(), scorer=DotScorer())


@pytest.fixture
def many() -> SimilarityModel:
    return SimilarityModel(Letters(words=True), scorer=LateInteraction())


@pytest.mark.parametrize("kind", ["single", "many"])
def test_encoded_candidates_rank_as_the_objects(kind: str, request: Any, tmp_path: Path) -> None:
    model = request.getfixturevalue(kind)
    encoded = model.encode_to_disk(TEXTS, tmp_path)
    for top_k in (None, 1, 3, 99):
        ranked = model.rank("red house", TEXTS, top_k)
        again = model.rank("red house", EncodedObjects(encoded.path), top_k)
        assert [place for place, _ in again] == [place for place, _ in ranked]
        assert [score for _, score in again] == pytest.approx([score for _, score in ranked])
        assert len(ranked) == min(top_k or 7, 7)
    scores = model.similarity("red house", TEXTS)[0]
    whole = model.rank("red house", TEXTS)
    assert [scores[place] for place, _ in whole] == pytest.approx(sorted(scores, reverse=True))
    assert kind == "single" or (whole[0][0] == 2 and whole[-1] == (4, -float("inf")))


class Longest:
    """Ranks by length, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def rank(self, query: Any, candidates: list[Any], top_k: int | None = None) -> list[tuple[int, float]]:
        self.asked.append((query, candidates, top_k))
        order = sorted(range(len(candidates)), key=lambda place: -len(candidates[place]))
        return [(place, float(len(candidates[place]))) for place in order[:top_k]]


def test_another_model_ranks_the_best_again(single: SimilarityModel, tmp_path: Path) -> None:
    best = sorted(place for place, _ in single.rank("red", TEXTS, 3))
    longest = Longest()
    ranked = single.rank("red", TEXTS, top_k=2, rerank=longest, first=3)
    assert longest.asked == [("red", [TEXTS[place] for place in best], 2)]
    expected = sorted(best, key=lambda place: -len(TEXTS[place]))[:2]
    assert ranked == [(place, float(len(TEXTS[place]))) for place in expected]
    encoded = single.encode_to_disk(TEXTS, tmp_path)
    assert single.rank("red", encoded, top_k=2, rerank=longest, first=3, objects=TEXTS) == ranked


def test_two_models_of_this_library(single: SimilarityModel, many: SimilarityModel) -> None:
    ranked = single.rank("red house", TEXTS, rerank=many, first=4)
    best = [place for place, _ in single.rank("red house", TEXTS, 4)]
    expected = [place for place, _ in many.rank("red house", TEXTS) if place in best]
    assert [place for place, _ in ranked] == expected and len(ranked) == 4
    assert single.rank("red", [], rerank=many) == []


def test_a_cross_encoder_ranks_the_best_again(single: SimilarityModel, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder
    from tiny_models import tiny_cross_encoder

    cross = CrossEncoder(tiny_cross_encoder(tmp_path), device="cpu")
    best = [place for place, _ in single.rank("red", TEXTS, 4)]
    scores = {place: float(cross.predict([("red", TEXTS[place])])[0]) for place in best}
    ranked = single.rank("red", TEXTS, top_k=3, rerank=cross, first=4)
    assert [place for place, _ in ranked] == sorted(best, key=lambda place: -scores[place])[:3]
    assert [score for _, score in ranked] == pytest.approx([scores[place] for place, _ in ranked], abs=1e-5)


@pytest.mark.parametrize("scores", [[1.0], [[1.0, 2.0]] * 7, [float("nan")] * 7])
def test_predictions_that_order_nothing(single: SimilarityModel, scores: Any) -> None:
    class Predicts:
        def predict(self, pairs: Any) -> Any:
            return scores

    with pytest.raises(ValueError, match="Predicts must give a number for each of 7 pairs"):
        single.rank("red", TEXTS, rerank=Predicts())


def test_refused(single: SimilarityModel, many: SimilarityModel, tmp_path: Path) -> None:
    encoded = single.encode_to_disk(TEXTS, tmp_path)
    with pytest.raises(ValueError, match="EncodedObjects hold vectors alone; pass objects="):
        single.rank("red", encoded, rerank=many)
    with pytest.raises(ValueError, match="7 encoded candidates and 2 objects"):
        single.rank("red", encoded, rerank=many, objects=TEXTS[:2])
    with pytest.raises(ValueError, match="first must be at least 1 and top_k=5"):
        single.rank("red", TEXTS, 5, rerank=many, first=4)
    with pytest.raises(TypeError, match="a list of objects, got one text"):
        single.rank("red", "green")
