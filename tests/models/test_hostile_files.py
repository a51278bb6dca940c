"""Files that may not lie in a servable, or are not what they seem, are refused before anything is built."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import assert_refused, hostile_code, hostile_pickle, hostile_zip, mark, tampered
from safetensors.torch import load_file, save_file

PLACES = ["", "encoders", "encoders/query/sentence_transformer", "heads/document/modules/1", "scorer"]
TEXT = "encoders/query/sentence_transformer/"


@pytest.mark.parametrize(
    "name",
    [
        "evil.py",
        ".evil.py",
        "EVIL.PY",
        "conftest.py",
        "__init__.py",
        "sitecustomize.py",
        "evil.pyc",
        "evil.pth",
        "evil.so",
        "évil.pｙ",
        "evil",
        "evil.json ",
        "evil.json.",
        "evil.json\n",
        "evil.sh",
        "evil.yaml",
        "chat_template.jinja",
    ],
)
def test_code(servable: Path, name: str) -> None:
    for place in PLACES:
        with tampered(servable / place / name, hostile_code(servable)):
            assert_refused(servable, str(Path(place) / name), says="may not be part of a servable")


@pytest.mark.parametrize(
    "name", ["more/evil.py", ".hidden/evil.py", "more/deeper/__init__.py", "a/__pycache__/evil.pyc"]
)
def test_code_in_folders(servable: Path, name: str) -> None:
    for place in PLACES:
        file = servable / place / name
        refused = file.parent if file.parent.name == "__pycache__" else file
        with tampered(file, hostile_code(servable)):
            assert_refused(servable, str(refused.relative_to(servable)), says="may not be part of a servable")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pkl", "model.pt", "model.pth", "a.ckpt", "a.joblib", "a.npz"]
)
def test_pickles(servable: Path, name: str) -> None:
    contents = hostile_pickle(servable), hostile_pickle(servable, 0), hostile_zip(servable)
    for place, content in product(PLACES, contents):
        with tampered(servable / place / name, content):
            assert_refused(servable, str(Path(place) / name), says="may not be part of a servable")


FILES = [
    "servable.json",
    "README.md",
    "scorer/component.json",
    "scorer/config.json",
    "heads/query/config.json",
    "heads/query/model.safetensors",
    "heads/document/modules/1/model.safetensors",
    TEXT + "config.json",
    TEXT + "modules.json",
    TEXT + "tokenizer.json",
    TEXT + "tokenizer_config.json",
    TEXT + "model.safetensors",
    TEXT + "1_Pooling/config.json",
    TEXT + "vocab.txt",
    TEXT + "arrays.npy",
    TEXT + "tokenizer.model",
]


@pytest.mark.parametrize("kind", ["pickle", "zip", "gzip", "script", "program"])
def test_disguises(servable: Path, kind: str) -> None:
    content = {
        "pickle": hostile_pickle(servable),
        "zip": hostile_zip(servable),
        "gzip": gzip.compress(hostile_pickle(servable)),
        "script": f"#!/bin/sh\nmkdir {mark(servable)}\n".encode(),
        "program": b"\x7fELF\x02\x01\x01" + bytes(57),
    }[kind]
    for file in FILES:
        with tampered(servable / file, content):
            assert_refused(servable, file)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(servable: Path, protocol: int) -> None:
    for file in FILES:
        if file.endswith((".json", ".safetensors", ".npy")):
            with tampered(servable / file, hostile_pickle(servable, protocol)):
                assert_refused(servable, file)


def test_array_of_objects(servable: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark(servable)),)

    np.save(servable / TEXT / "a.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    assert_refused(servable, TEXT + "a.npy", says="array of Python objects")
    np.load(servable / TEXT / "a.npy", allow_pickle=True)
    assert mark(servable).exists(), "the payload works"


@pytest.mark.parametrize(
    "file", ["heads/query/config.json", "heads/query/model.safetensors", "servable.json", TEXT + "vocab.txt"]
)
def test_linked_files(servable: Path, file: str) -> None:
    elsewhere = servable.parent / Path(file).name
    if (servable / file).exists():
        shutil.move(servable / file, elsewhere)
    else:
        elsewhere.write_text("red")
    for target in (elsewhere, os.path.relpath(elsewhere, (servable / file).parent)):
        (servable / file).symlink_to(target)
        assert_refused(servable, file, says="symbolic link")
        (servable / file).unlink()


@pytest.mark.parametrize(
    "folder", ["heads", "heads/document/modules/1", "encoders/query", TEXT + "1_Pooling", "scorer"]
)
def test_linked_folders(servable: Path, folder: str) -> None:
    shutil.move(servable / folder, servable.parent / "elsewhere")
    (servable / folder).symlink_to(servable.parent / "elsewhere")
    assert_refused(servable, folder, says="symbolic link")


@pytest.mark.parametrize(
    ("link", "target"), [("loop", "."), ("heads/up", "../.."), ("a", "b"), ("self", "self"), ("b", "/")]
)
def test_links_that_lead_nowhere(servable: Path, link: str, target: str) -> None:
    (servable / link).symlink_to(target)
    assert_refused(servable, link, says="symbolic link")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("file", ["scorer/config.json", "heads/query/model.safetensors", TEXT + "more.txt"])
def test_pipes_and_sockets(servable: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (servable / file).unlink(missing_ok=True)
    os.mkfifo(servable / file)  # opening it would wait for ever
    assert_refused(servable, file, says="may not be part of a servable")
    (servable / file).unlink()
    monkeypatch.chdir((servable / file).parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(Path(file).name)
        assert_refused(servable, file, says="may not be part of a servable")


@pytest.mark.parametrize("folder", ["encoders", "encoders/query", "heads/query", "heads/document/modules", "scorer"])
def test_a_file_where_a_folder_belongs(servable: Path, folder: str) -> None:
    shutil.rmtree(servable / folder)
    (servable / folder).write_text("{}")
    assert_refused(servable, folder, says="may not be part of a servable")
    (servable / folder).unlink()
    (servable / f"{folder}.json").write_text("{}")
    nested = folder == "heads/document/modules"  # its head is asked for when the outer one is loaded
    assert_refused(servable, {"encoders": "encoders/query"}.get(folder, folder), says="missing", may_build=nested)


@pytest.mark.parametrize(
    "folder", ["heads/query/config.json", "heads/query/model.safetensors", "heads/document/config.json"]
)
def test_a_folder_where_a_file_belongs(servable: Path, folder: str) -> None:
    (servable / folder).unlink()
    (servable / folder).mkdir()
    assert_refused(servable, folder, says="cannot be read|missing", may_build=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.popitem(),
        lambda weights: weights.clear(),
        lambda weights: weights.update(more=torch.zeros(1)),
        lambda weights: weights.update({name: tensor[:-1] for name, tensor in weights.items()}),
        lambda weights: weights.update({name: tensor.flatten()[:1] for name, tensor in weights.items()}),
        lambda weights: weights.update({name: tensor.long() for name, tensor in weights.items()}),
    ],
)
@pytest.mark.parametrize("file", ["heads/query/model.safetensors", "heads/document/model.safetensors"])
def test_weights_that_do_not_fit(servable: Path, file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(servable / file)
    change(weights)
    save_file(weights, servable / file)
    assert_refused(servable, file, says="does not hold the weights", may_build=True)


@pytest.mark.parametrize("file", [name for name in FILES if name.endswith(".safetensors")])
def test_truncated_weights(servable: Path, file: str) -> None:
    content = (servable / file).read_bytes()
    for length in (0, 7, 8, 60, len(content) - 1):
        (servable / file).write_bytes(content[:length])
        assert_refused(servable, file, says="no safetensors file, or a damaged one")
    (servable / file).write_bytes((2**62).to_bytes(8, "little") + content[8:])
    assert_refused(servable, file, says="no safetensors file, or a damaged one")


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"a": NaN}', b'{"a": 1e999}', b"9" * 5000, b"\xff{}", b"\xef\xbb\xbf{}"],
)
def test_broken_json(servable: Path, content: bytes) -> None:
    for file in FILES:
        if file.endswith(".json"):
            with tampered(servable / file, content):
                assert_refused(servable, file, says="is not JSON")


@pytest.mark.parametrize(
    "change",
    [
        {"evil": 1},
        {"self": 1},
        {"hidden": "everything"},
        {"hidden": [10**12, 10**12]},
        {"hidden": [-1]},
        {"output": 10**400},
        {"output": None},
        {"dropout": 7},
        {"activation": "os.system"},
        {"activation": ["relu"]},
        {"activation": {}},
        {"normalization": "evil"},
        {"input_embedding_size": True},
    ],
)
def test_settings_that_the_class_does_not_take(servable: Path, change: dict[str, Any]) -> None:
    file = servable / "heads/query/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert_refused(servable, "heads/query", may_build=True)
