"""What JSON of a folder that is loaded may ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simlearn.components import check_folder
from simlearn.files import LoadError, UntrustedError


def refused(file: Path, error: type[LoadError] = UntrustedError) -> str:
    with pytest.raises(error, match=re.escape(str(file))) as caught:
        check_folder(file.parents[1])
    return str(caught.value)


def write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / "nested" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def deep(content: Any, depth: int) -> Any:
    for level in range(depth):
        content = {"a": content} if level % 2 else [1, content]
    return content


@pytest.mark.parametrize("depth", [0, 1, 50])
@pytest.mark.parametrize(
    "content",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"auto_map": ["evil.Tokenizer", None]},
        {"trust_remote_code": True},
        {"trust_remote_code": 1},
        {"custom_pipelines": {"a": {"impl": "evil.Pipeline"}}},
        {"type": "evil.Module"},
        {"type": "torch.nn.Linear"},
        {"type": "sentence_transformers.util.misc.json"},
        {"type": "sentence_transformers.base.modules.evil"},
        {"types": {"a": "os.system"}},
        {"types": ["evil.Module"]},
        {"tokenizer_class": "sentence_transformers.base.model.torch"},
        {"tokenizer_class": "someone/repository--evil.Tokenizer"},
        {"tokenizer_class": ["evil.Slow", None]},
        {"activation_function": "torch.hub.load"},
        {"activation_function": "torch.nn.modules.module.Module"},
        {"image_processor_type": "evil.Processor"},
    ],
)
def test_that_asks_for_code(tmp_path: Path, content: Any, depth: int) -> None:
    for name in ("a.json", "CONFIG.JSON"):
        file = write(tmp_path, name, json.dumps(deep(content, depth)).encode())
        assert "evil" in refused(file) or "asks for" in refused(file)
        file.unlink()


def test_that_names_known_things(tmp_path: Path) -> None:
    content = [
        {"auto_map": None, "trust_remote_code": False},
        {"type": "sentence_transformers.base.modules.transformer.Transformer"},
        {"type": "sentence_transformers.models.Pooling"},
        {"types": {"a": "sentence_transformers.models.Transformer.Transformer"}},
        {"tokenizer_class": "sentence_transformers.sentence_transformer.modules.tokenizer.phrase.PhraseTokenizer"},
        {"activation_function": "torch.nn.modules.activation.Tanh", "tokenizer_class": "BertTokenizer"},
        {"type": "WordPiece", "path": "/anywhere"},
        {"type": 17, "types": None, "activation_function": "gelu_new"},
        {"type": "version 1.5", "a": "os.system"},
    ]
    write(tmp_path, "a.json", json.dumps(content).encode())
    check_folder(tmp_path)


@pytest.mark.parametrize("name", ["modules.json", "Modules.JSON"])
@pytest.mark.parametrize(
    "path", ["/etc", "../a", "a/../../b", "..", "~/a", "\\\\host\\a", "..\\a", "a\\..\\b", "C:\\a", 3, None]
)
def test_modules_outside(tmp_path: Path, path: Any, name: str) -> None:
    file = write(tmp_path, name, json.dumps([{"path": path, "type": "sentence_transformers.models.Pooling"}]).encode())
    assert "outside its own folder" in refused(file)


@pytest.mark.parametrize("path", ["", "0_Transformer", "a/b", "a..b"])
def test_modules_inside(tmp_path: Path, path: str) -> None:
    write(tmp_path, "modules.json", json.dumps([{"path": path}]).encode())
    check_folder(tmp_path)


def test_shards_outside(tmp_path: Path) -> None:
    content = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "../../other.safetensors"}}
    refused(write(tmp_path, "model.safetensors.index.json", json.dumps(content).encode()))


@pytest.mark.parametrize("depth", [102, 400, 900, 100_000])
def test_too_deep(tmp_path: Path, depth: int) -> None:
    refused(write(tmp_path, "a.json", b"[" * depth + b"]" * depth), LoadError)
