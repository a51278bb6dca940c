"""What can be done to a servable of format version 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Change = Callable[[Path], Any]
MODEL = "encoders/default/sentence_transformer"
IMAGES = "encoders/default/transformers"
HUGE = 20 * 2**30
FAR = 10**9


def edit(path: Path, **changes: Any) -> None:
    """Change or add keys of a JSON object; makes the file, and its folder, where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def sparse(path: Path, head: bytes = b"", size: int = HUGE) -> None:
    """A file of many gigabytes that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


def config_of(file: str, **changes: Any) -> Change:
    return lambda folder: edit(folder / file, **changes)


def model(**changes: Any) -> Change:
    return config_of(f"{MODEL}/config.json", **changes)


def only(file: str, content: Any) -> Change:
    return lambda folder: (folder / file).write_text(json.dumps(content), encoding="utf-8")


def tokenizer(**changes: Any) -> Change:
    return config_of(f"{MODEL}/tokenizer.json", **changes)


def in_tokenizer(part: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        file = folder / MODEL / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        edit(file, **{part: {**(content[part] or {}), **changes}})

    return change


def settings(**changes: Any) -> Change:
    return config_of(f"{MODEL}/sentence_bert_config.json", **changes)


def raw(file: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

    return change


def holes(file: str, head: bytes = b"") -> Change:
    return lambda folder: sparse(folder / file, head)


def weights_of(file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    def apply(folder: Path) -> None:
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file)

    return apply


def module(kind: str, config: dict[str, Any], weights: dict[str, torch.Tensor] | None = None) -> Change:
    """One more module at the end of the model, with the configuration of another."""

    def change(folder: Path) -> None:
        model = folder / MODEL
        modules = json.loads((model / "modules.json").read_text(encoding="utf-8"))
        modules.append({"idx": 9, "name": "9", "path": "9_More", "type": f"sentence_transformers.{kind}"})
        (model / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        for name in ("config.json", "cnn_config.json", "lstm_config.json"):
            edit(model / "9_More" / name, **config)
        save_file(weights or {"weight": torch.zeros(2)}, model / "9_More" / "model.safetensors")

    return change


def together(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change
