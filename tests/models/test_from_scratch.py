"""A servable of a model without pretrained parts: what it needs where it is served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import quiet_trainer

from simlearn import (
    BagOfTokensEncoder,
    CategoricalEncoder,
    Field,
    MLPHead,
    MultipleNegativesRankingLoss,
    NGramVectorizer,
    NumericEncoder,
    PairsSimilarityDataLoader,
    SimilarityModel,
    TrainableModel,
    TwoTower,
    fit,
)

PRODUCTS = [
    {"title": "Rød ske af bøg", "category": "kitchen", "price": 3.5},
    {"title": "spoon, stainless steel", "category": None, "price": None},
    {"title": "desk lamp, red", "category": "lighting", "price": 20.0},
    {"title": "", "category": "garden", "price": 7.0},
]

BLOCKED = (
    "pytorch_lightning lightning_fabric pyarrow hydra omegaconf fsspec pandas sentence_transformers bm25s torchmetrics"
)

CODE = """
import json, sys
for name in sys.argv[3].split():
    sys.modules[name] = None
import numpy as np
from simlearn import SimilarityModel
model = SimilarityModel.load(sys.argv[1])
products = json.loads(sys.argv[4])
np.savez(sys.argv[2], query=model.encode_query(["red spoon", "lamp"]), document=model.encode_document(products))
"""


class Search(TrainableModel):
    def configure_encoders(self) -> TwoTower:
        titles = [str(product["title"]) for product in PRODUCTS]
        words = BagOfTokensEncoder(NGramVectorizer.build(titles, size=50, oov_buckets=10), 8)
        price = NumericEncoder(["price"], transform="log").fit(PRODUCTS)
        category = CategoricalEncoder(["kitchen", "lighting"], 4, oov_buckets=2)
        return TwoTower(
            query=words,
            document={"title": Field("title", words), "category": Field("category", category), "price": price},
        )

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return MLPHead(input_embedding_size, hidden=[8], output=6)

    def configure_loss(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss()


def test_it_is_served_without_what_trained_it(tmp_path: Path) -> None:
    model = Search()
    rows: Any = [{"query": f"lamp {n}", "product": product} for n, product in enumerate(PRODUCTS)]
    fit(model, PairsSimilarityDataLoader(rows, 2, obj_a="query", obj_b="product"), trainer=quiet_trainer(max_epochs=2))
    model.save_servable(tmp_path / "servable")
    told = [sys.executable, "-c", CODE, tmp_path / "servable", tmp_path / "made.npz", BLOCKED, json.dumps(PRODUCTS)]
    subprocess.run(told, check=True)
    served, made = SimilarityModel.load(tmp_path / "servable"), np.load(tmp_path / "made.npz")
    np.testing.assert_array_equal(made["query"], served.encode_query(["red spoon", "lamp"]))
    np.testing.assert_array_equal(made["document"], served.encode_document(PRODUCTS))
    np.testing.assert_array_equal(made["document"], model.model.encode_document(PRODUCTS))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_one_batch_and_several_are_the_same(batch_size: int) -> None:
    model = Search().model
    whole = model.encode_document(PRODUCTS)
    np.testing.assert_allclose(model.encode_document(PRODUCTS, batch_size=batch_size), whole, rtol=1e-5, atol=1e-6)
    first = model.encode_query("lamp", to_numpy=False)
    assert isinstance(whole, np.ndarray) and first.shape == (1, 6)
    first.zero_()
    assert model.encode_query("lamp").any(), "what came out is nobody else's"
