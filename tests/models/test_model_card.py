"""The README of a servable reads well, its code runs, and whatever was noted on the card can be saved."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_sentence_transformer
from tiny_servables import Letters, Numbers, Scaled, Sharp, load

from simlearn.encoders import TextEncoder
from simlearn.files import LoadError, write_json
from simlearn.heads import MLPHead
from simlearn.models import ModelCard, SimilarityModel
from simlearn.scoring import DotScorer
from simlearn.towers import Field, Fields, TwoTower


def readme(model: SimilarityModel, folder: Path) -> str:
    model.save(folder / "servable")
    return (folder / "servable" / "README.md").read_text(encoding="utf-8")


def usage(text: str) -> str:
    code = text.split("```python\n")[1].split("```")[0]
    ast.parse(code)
    return code


def test_symmetric(tmp_path: Path) -> None:
    text = TextEncoder(tiny_sentence_transformer(tmp_path / "source", hidden_size=8))
    model = SimilarityModel(text, MLPHead(8, [], 4))
    model.card.name = "DocSearch"
    model.card.data = {"training": "PairsSimilarityDataLoader(|pairs|,\n 3000)"}
    model.card.training = {
        "loss": "MultipleNegativesRankingLoss(scale=20.0)",
        "epochs": 3,
        "steps": 12_345,
        "early": True,
    }
    model.card.scores = {"validation_loss": 0.123456, "recall@10": 0.9}
    assert readme(model, tmp_path).splitlines() == [
        "# DocSearch",
        "",
        "A similarity model: it turns objects into vectors, and finds the documents that are most similar to a query. "
        "It has one tower for queries and documents alike.",
        "",
        "## Usage",
        "",
        "```python",
        "from simlearn import SimilarityModel",
        "",
        'served = SimilarityModel.load("path/of/this/folder")',
        'vectors = served.encode(["..."])  # numpy, one row an object',
        'best = served.rank("...", ["..."], top_k=10)  # (place in the list, score), best first',
        "```",
        "",
        "Loading runs no code from this folder: it holds weights (safetensors), settings (JSON) and text.",
        "",
        "## Model",
        "",
        "| part | what it is |",
        "|---|---|",
        "| tower | TextEncoder `default` (frozen), then MLPHead: 4 values |",
        "| similarity | cosine |",
        f"| parameters | {sum(weight.numel() for weight in model.parameters()):,}, of which 36 trained |",
        "",
        "## Training data",
        "",
        "| data | source |",
        "|---|---|",
        "| training | `PairsSimilarityDataLoader(\\|pairs\\|, 3000)` |",
        "",
        "## Training",
        "",
        "| setting | value |",
        "|---|---|",
        "| loss | `MultipleNegativesRankingLoss(scale=20.0)` |",
        "| epochs | 3 |",
        "| steps | 12,345 |",
        "| early | True |",
        "",
        "## Scores",
        "",
        "| metric | value |",
        "|---|---|",
        "| validation_loss | 0.1235 |",
        "| recall@10 | 0.9 |",
    ]


def test_two_towers_with_classes_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = Letters(4)
    model = SimilarityModel(
        TwoTower(
            query=words.with_prompt('q | "\n\0\ud800'),
            document=Fields(title=words, price=Field("the price", Numbers(3))),
        ),
        {"query": MLPHead(4, [], 2), "document": Scaled(7)},
        DotScorer(),
    )
    monkeypatch.setattr(Scaled, "__module__", "__main__")
    text = readme(model, tmp_path)
    assert usage(text).splitlines() == [
        "from simlearn import SimilarityModel",
        "# define Scaled here, as where the model was trained",
        "from tiny_servables import Letters",
        "from tiny_servables import Numbers",
        "",
        'served = SimilarityModel.load("path/of/this/folder", classes=[Scaled, Letters, Numbers])',
        "queries = served.encode_query([...])  # numpy, one row an object",
        'documents = served.encode_document([{"the price": ..., "title": ...}])',
        'best = served.rank(..., [{"the price": ..., "title": ...}], top_k=10)  # (place in the list, score), best '
        "first",
    ]
    assert '| query tower | Letters `query` (trained) after the prompt `q \\| "`, then MLPHead: 2 values |' in text
    assert "of field `the price` and Letters `query` (trained) of field `title`, then Scaled: 7 values |" in text
    assert "| similarity | dot product |" in text
    assert "## Scores" not in text and "## Training" not in text


def test_nested_and_local_classes_can_be_named(tmp_path: Path) -> None:
    class Local(Letters):
        pass

    assert "classes=[Local])" in usage(readme(SimilarityModel(Local(3)), tmp_path))
    Local.__qualname__ = "Outer.Inner"
    code = usage(readme(SimilarityModel(Local(3), scorer=Sharp()), tmp_path))
    assert f"from {Local.__module__} import Outer\n" in code
    assert "classes=[Outer.Inner, Sharp])" in code


def test_an_object_that_is_read_whole_and_by_field(tmp_path: Path) -> None:
    model = SimilarityModel({"a": Letters(3), "b": Field("title", Letters(3, seed=1))})
    assert "served.encode([...])" in usage(readme(model, tmp_path))


FOREIGN = [np.float32(0.5), np.int64(3), torch.tensor(0.25), torch.ones(2), np.zeros(2), Path("a"), object(), b"a"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(FOREIGN)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text() | st.integers(), SCALARS, max_size=3)


@given(st.text(), st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_card_is_saved(tmp_path_factory: pytest.TempPathFactory, name: str, content: dict[str, Any]) -> None:
    card = ModelCard(name, training=content, data=content, scores=content)
    file = tmp_path_factory.getbasetemp() / "card.json"
    write_json(file, card.to_json())
    read = ModelCard.from_json(json.loads(file.read_text(encoding="utf-8")))
    assert read.to_json() == card.to_json()
    model = SimilarityModel(Letters(2))
    written = card.markdown(model.plan, {"query": model.tower().head}, model.scorer)
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len(rows) == 5 + 3 * (len(content) + 2) * bool(content)


def test_figures_become_numbers_and_come_back(tmp_path: Path) -> None:
    model = SimilarityModel(Letters(2))
    model.card.scores = {"mrr": np.float32(0.5), "loss": torch.tensor(0.25), "bad": float("nan"), "n": np.int64(3)}  # type: ignore[dict-item]
    model.save(tmp_path / "a")
    assert load(tmp_path / "a").card.scores == {"mrr": 0.5, "loss": 0.25, "bad": "nan", "n": 3}


@pytest.mark.parametrize("content", [None, [], {}, "card", {"name": "a"}, {**ModelCard().to_json(), "more": 1}])
def test_no_card(content: Any) -> None:
    with pytest.raises(LoadError, match="not a model card"):
        ModelCard.from_json(content)
    for key, wrong in (("name", None), ("scores", []), ("data", "a"), ("training", 3)):
        with pytest.raises(LoadError, match="not a model card"):
            ModelCard.from_json({**ModelCard().to_json(), key: wrong})
