"""A real servable, to be tampered with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hostile import hostile_code, mark
from tiny_models import tiny_sentence_transformer
from torch import nn

from simlearn.encoders import TextEncoder
from simlearn.heads import GatedHead, MLPHead, SequentialHead
from simlearn.models import SimilarityModel
from simlearn.towers import Fields, TwoTower


@pytest.fixture(scope="session")
def sound_servable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two towers over one sentence-transformers model; the document's head has a head inside."""
    folder = tmp_path_factory.mktemp("sound")
    text = TextEncoder(tiny_sentence_transformer(folder / "source", hidden_size=8))
    heads = {
        "query": MLPHead(8, [4], 6),
        "document": SequentialHead(nn.Linear(8, 6), GatedHead(6), output_size=6),
    }
    model = SimilarityModel(TwoTower(query=text.with_prompt("query: "), document=Fields(title=text)), heads)  # type: ignore[arg-type]
    model.save(folder / "servable")
    SimilarityModel.load(folder / "servable")  # whatever a sound servable needs is imported now
    return folder / "servable"


@pytest.fixture
def servable(sound_servable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy; beside it, and where Python looks for modules, a module `evil` that leaves a mark."""
    shutil.copytree(sound_servable, tmp_path / "servable")
    (tmp_path / "evil.py").write_text(hostile_code(tmp_path / "servable"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not mark(tmp_path / "servable").exists()
    return tmp_path / "servable"
