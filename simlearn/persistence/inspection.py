"""A look at every file of a folder before the first one is used."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any

from simlearn.persistence.errors import UntrustedError
from simlearn.persistence.files import read_json

_SUFFIXES = frozenset({".json", ".jsonl", ".safetensors", ".npy", ".txt", ".md", ".csv", ".tsv", ".model", ".spm"})
_FORBIDDEN_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "_instantiator"})
_SENTENCE_TRANSFORMERS_MODULES = frozenset(
    "Transformer Pooling Normalize Dense Dropout LayerNorm WeightedLayerPooling StaticEmbedding WordEmbeddings BoW CNN LSTM"
    " WordWeights Router Asym".split()
)
_MAGIC = {
    b"PK\x03\x04": "a zip archive (torch.save and numpy.savez write those around pickles)",
    b"\x7fELF": "a compiled program",
    b"MZ": "a compiled program",
    b"#!": "a script",
    b"\x1f\x8b": "compressed data",
    b"BZh": "compressed data",
    b"\xfd7zXZ": "compressed data",
}


def check_folder(path: str | Path) -> None:
    """Look at every file below a folder, before any is used.

    Raises:
        UntrustedError: for Python files, pickles and other files that are not data; for files that claim another type than
            they have; for symbolic links; for JSON that asks for code (`auto_map`, unknown sentence-transformers modules).
    """
    for folder, folders, files in os.walk(path, followlinks=False):
        for name in [*folders, *files]:
            file = Path(folder) / name
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise UntrustedError(f"{file} is a symbolic link; a servable must hold its own files")
            if name in folders and name != "__pycache__":
                continue
            if not stat.S_ISREG(mode) or file.suffix.lower() not in _SUFFIXES:
                raise UntrustedError(
                    f"{file} may not be part of a servable, which holds only {', '.join(sorted(_SUFFIXES))} files; "
                    "let your encoder save weights as safetensors and everything else as JSON, npy or text"
                )
            _check_content(file)


def _check_content(file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(512)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise UntrustedError(f"{file} is {kind}, not {file.suffix} data")
    if file.suffix != ".safetensors" and len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        raise UntrustedError(f"{file} is a pickle, which can run code when it is loaded")
    if file.suffix == ".npy" and re.search(rb"'descr':\s*(\[|'\|?O)", head):
        raise UntrustedError(f"{file} is an array of Python objects, which are pickled")
    if file.suffix == ".json":
        _check_json(file, read_json(file))


def _check_json(file: Path, content: Any) -> None:
    if isinstance(content, dict):
        for key in sorted(_FORBIDDEN_KEYS & content.keys()):
            if content[key]:
                raise UntrustedError(f"{file} has {key!r}, which asks for code to be run; a servable must not need any")
        for key, value in content.items():
            if key in ("type", "types") and file.name in ("modules.json", "router_config.json", "config.json"):
                _check_sentence_transformers_types(file, value)
            if key == "path" and file.name == "modules.json":
                _check_inside(file, value)
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        if isinstance(value, (dict, list)):
            _check_json(file, value)


def _check_sentence_transformers_types(file: Path, types: Any) -> None:
    for name in types.values() if isinstance(types, dict) else [types]:
        if not isinstance(name, str) or "." not in name:
            continue
        if (
            not name.startswith("sentence_transformers.")
            or name.rpartition(".")[2] not in _SENTENCE_TRANSFORMERS_MODULES
        ):
            raise UntrustedError(f"{file} asks for the module {name}, which is none of sentence-transformers' own")


def _check_inside(file: Path, relative: Any) -> None:
    if not isinstance(relative, str) or os.path.isabs(relative) or ".." in Path(relative).parts:
        raise UntrustedError(f"{file} points to {relative!r}, outside its own folder")
