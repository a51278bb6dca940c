"""Whatever can embed objects is asked in its own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_models import SmallModel, numbers

from simlearn.data.embedding_objects import embed_objects, model_in


class Sentences:
    def encode_query(self, objects: list[Any]) -> np.ndarray:
        return np.zeros((len(objects), 2), dtype=np.float32)

    def encode_document(self, objects: list[Any]) -> np.ndarray:
        return np.ones((len(objects), 2), dtype=np.float32)


def test_models_and_functions() -> None:
    trained = SmallModel()
    objects = numbers(0, 3)
    expected = embed_objects(trained.model, objects, "query").values
    assert torch.equal(embed_objects(trained, objects, "query").values, expected)
    assert not embed_objects(Sentences(), objects, "query").values.any()
    assert embed_objects(Sentences(), objects, "document").values.all()
    assert (
        embed_objects(
            lambda given, role: torch.full((len(given), 1), float(len(role))), objects, "query"
        ).values.tolist()
        == [[5.0]] * 3
    )
    assert model_in(trained) is model_in(trained.model) is trained.model
    assert model_in(Sentences()) is None


def test_what_cannot_embed_is_refused() -> None:
    with pytest.raises(TypeError, match="encode must be a SimilarityModel or a function .*, got 3"):
        embed_objects(3, [1], "query")
    with pytest.raises(ValueError, match="encode returned 1 embeddings for 2 objects"):
        embed_objects(lambda objects, role: torch.zeros(1, 2), [1, 2], "query")
