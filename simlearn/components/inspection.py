"""A look at every file of a folder before the first one is used.

A file may be there only if its suffix is on a short list, and it must be what the suffix says. JSON may name only
those classes that the loaders of sentence-transformers build, and no code of its own.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from simlearn.files.errors import LoadError, UntrustedError
from simlearn.files.json_files import read_json

_MAX_FOLDERS = 64  # deep: os.walk and rglob call themselves for each; a head in a head in a head is 2 a level
_MAX_FILES = 20_000
_MAX_HEADER_BYTES = 16_000_000  # of safetensors: a model of 100,000 tensors has 10 MB
_NESTED = frozenset({dict, list})
_OWN_FILES, _OWN_BYTES = ("servable.json", "order.json"), 4_000_000
"""Files that say what there is, which is never much; a million towers take seconds to read."""
_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "_instantiator"})
# Keys whose value a loader of transformers or sentence-transformers turns into a class.
_CLASS_KEYS = frozenset(
    "type types tokenizer_class processor_class image_processor_type feature_extractor_type activation_function".split()
)
_DOTTED_NAME = re.compile(r"\.[^\W\d]")  # a dot before a letter: no version, no sentence
_KNOWN_CLASS = re.compile(
    r"sentence_transformers\.(models|base\.modules|sentence_transformer\.modules)(\.\w+)*\."
    r"(Transformer|Pooling|Normalize|Dense|Dropout|LayerNorm|WeightedLayerPooling|StaticEmbedding|WordEmbeddings|BoW|CNN"
    r"|LSTM|WordWeights|Router|Asym|WhitespaceTokenizer|PhraseTokenizer|TransformersTokenizerWrapper)"
    r"|torch\.nn\.modules\.(activation|linear)\.\w+"
)
_OUTSIDE = re.compile(r"[\\/~]|[A-Za-z]:|(.*[\\/])?\.\.([\\/]|$)")
_MAGIC = {
    b"PK\x03\x04": "a zip archive (torch.save and numpy.savez write those around pickles)",
    b"\x7fELF": "a compiled program",
    b"MZ\x90\0": "a compiled program",
    b"#!": "a script",
    b"\x1f\x8b": "compressed data",
    b"BZh": "compressed data",
    b"\xfd7zXZ": "compressed data",
    b"(\xb5/\xfd": "compressed data",
}


def check_folder(path: str | Path, look: Callable[[Path, Any], None] | None = None) -> None:
    """Look at every file below a folder, before any is used.

    Args:
        path: the folder.
        look: gets every JSON file and its content, for further checks.

    Raises:
        UntrustedError: for Python files, pickles and other files that are not data; for files that claim another type
            than they have; for symbolic links; for JSON that asks for code (`auto_map`, unknown classes).
        LoadError: for what cannot be read, JSON, safetensors and npy files that are damaged, and folders that are
            nested more than 64 deep or hold more than 20,000 entries.
    """
    root, entries = len(Path(path).parts), 0
    for folder, folders, files in os.walk(path, onerror=_unreadable):
        entries += len(folders) + len(files)
        if len(Path(folder).parts) - root > _MAX_FOLDERS or entries > _MAX_FILES:
            raise LoadError(
                f"{path} holds folders nested more than {_MAX_FOLDERS} deep, or more than {_MAX_FILES:,} files, which "
                "no servable does"
            )
        for name in [*folders, *files]:
            entry = Path(folder) / name
            mode = entry.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise UntrustedError(
                    f"{entry} is a symbolic link; a servable must hold its own files (cp -rL copies them)"
                )
            if stat.S_ISDIR(mode) and name != "__pycache__":
                continue
            check = _CHECKS.get(entry.suffix.lower()) if stat.S_ISREG(mode) else None
            if check is None:
                raise UntrustedError(
                    f"{entry} may not be part of a servable, which holds only {', '.join(sorted(_CHECKS))} files; "
                    "let your encoder save weights as safetensors and everything else as JSON, npy or text"
                )
            try:
                if check is _check_json:
                    content = _check_json(entry)
                    if look is not None:
                        look(entry, content)
                else:
                    check(entry)
            except OSError as error:
                _unreadable(error)


def _unreadable(error: OSError) -> NoReturn:
    raise LoadError(f"{error.filename} cannot be read: {error.strerror}") from error


def _check_text(file: Path) -> None:
    _check_opaque(file)
    with file.open("rb") as stream:
        head = stream.read(65_536)
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut in two
    except UnicodeDecodeError as error:
        raise UntrustedError(f"{file} is not UTF-8 text: {error}") from None
    if "\0" in text:
        raise UntrustedError(f"{file} is not text, it holds bytes of zero")


def _check_opaque(file: Path) -> None:
    """What has no form of its own, as vocabularies of sentencepiece."""
    with file.open("rb") as stream:
        head = stream.read(8)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            raise UntrustedError(f"{file} is {kind}, not {file.suffix} data")
    if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
        raise UntrustedError(f"{file} is a pickle, which can run code when it is loaded")


def _check_array(file: Path) -> None:
    from numpy.lib import format as npy

    with file.open("rb") as stream:
        try:
            version = npy.read_magic(stream)
            read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            dtype = read_header(stream)[2]
        except Exception as error:  # a header is a Python literal, whose parser may raise anything
            raise LoadError(f"{file} is no array of numpy: {type(error).__name__} {error!s:.200}") from None
    if dtype.hasobject:
        raise UntrustedError(f"{file} is an array of Python objects, which are pickled")


def _check_weights(file: Path) -> None:
    from safetensors import SafetensorError, safe_open

    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if _MAX_HEADER_BYTES < length < file.stat().st_size:
        raise LoadError(f"{file} has a header of {length:,} bytes, which is more than the names of any model's weights")
    try:
        with safe_open(str(file), framework="np"):
            pass
    except (SafetensorError, MemoryError) as error:  # the latter for more than the machine can map
        raise LoadError(f"{file} is no safetensors file, or a damaged one: {error}") from None


def _check_json(file: Path) -> Any:
    """Refuse JSON that asks for code; returns its content."""
    name = file.name.lower()  # on some systems, Modules.JSON is modules.json
    content = read_json(file, max_bytes=_OWN_BYTES) if name in _OWN_FILES else read_json(file)
    for mapping in mappings(content):
        for key in sorted(_CODE_KEYS & mapping.keys()):
            if mapping[key]:
                raise UntrustedError(f"{file} has {key!r}, which asks for code to be run; a servable must not need any")
        for key in _CLASS_KEYS & mapping.keys():
            _check_classes(file, mapping[key])
        if name == "modules.json" and "path" in mapping:
            _check_inside(file, mapping["path"])
        if name.endswith(".index.json") and isinstance(mapping.get("weight_map"), dict):
            for shard in mapping["weight_map"].values():
                _check_inside(file, shard)
    return content


def mappings(content: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object, at any depth."""
    waiting = [content]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        if isinstance(node, (dict, list)):
            children = node.values() if isinstance(node, dict) else node
            if not _NESTED.isdisjoint(map(type, children)):  # a vocabulary of numbers is passed over at once
                waiting.extend(child for child in children if type(child) in _NESTED)


def _check_classes(file: Path, named: Any) -> None:
    names = named.values() if isinstance(named, dict) else named if isinstance(named, list) else [named]
    for name in names:
        if isinstance(name, str) and _DOTTED_NAME.search(name) and not _KNOWN_CLASS.fullmatch(name):
            raise UntrustedError(f"{file} asks for {name}, which is none of the classes that a servable may name")


def _check_inside(file: Path, relative: Any) -> None:
    if not isinstance(relative, str) or _OUTSIDE.match(relative):
        raise UntrustedError(f"{file} points to {relative!r:.200}, outside its own folder")


_TEXT = (".txt", ".md", ".csv", ".tsv", ".jsonl")
_CHECKS: dict[str, Callable[[Path], Any]] = {
    ".json": _check_json,
    ".safetensors": _check_weights,
    ".npy": _check_array,
    ".model": _check_opaque,
    ".spm": _check_opaque,
    **dict.fromkeys(_TEXT, _check_text),
}
