"""What may lie in a folder that is loaded, and what may not, whatever it is called."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import re
import socket
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from simlearn.components import check_folder
from simlearn.files import LoadError, UntrustedError

SAFETENSORS = save({"a": torch.zeros(3)})


def refused(file: Path, error: type[LoadError] = UntrustedError) -> str:
    with pytest.raises(error, match=re.escape(str(file))) as caught:
        check_folder(file.parents[1])
    return str(caught.value)


def write(folder: Path, name: str, content: bytes) -> Path:
    file = folder / "nested" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return file


def npy(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def npy_with_header(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{}"),
        ("A.JSON", b"[1]"),
        (".hidden.json", b"null"),
        ("a.jsonl", b'{"a": 1}\n{}\n'),
        ("a.safetensors", SAFETENSORS),
        ("a.npy", npy(np.zeros((0, 3)))),
        ("a.npy", npy(np.ones(5, dtype=np.float16), version=(2, 0))),
        ("a.npy", npy(np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]))),
        ("vocab.txt", "größe\n日本語\n".encode()),
        ("vocab.txt", ("日" * 30_000).encode()),
        ("a.txt", b""),
        ("a.csv", b"MZ,PK\n1,2\n"),
        ("a.md", b"# title"),
        ("a.tsv", b"a\tb"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15"),
        ("a.spm", b""),
    ],
)
def test_data(tmp_path: Path, name: str, content: bytes) -> None:
    write(tmp_path, name, content)
    check_folder(tmp_path)


@pytest.mark.parametrize(
    "name",
    "a.py a.pyc a.pyd a.so a.dll a.dylib a.sh a.exe a.pkl a.pickle a.joblib a.bin a.pt a.pth a.ckpt a.npz a.h5"
    " a.msgpack a.gz a.zip a.tar a.whl a.yaml a.jinja a.html a.ipynb a .py .json a.json.py a.json. a.JSON\n a.ｊson"
    " a.json\u200b a.pＹ __pycache__.".split(" "),
)
def test_other_suffixes(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, name, b"{}")
    assert "save weights as safetensors and everything else as JSON, npy or text" in refused(file)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / os.fsdecode(b"a\xff.py")).write_text("")
    with pytest.raises(UntrustedError, match="may not be part of a servable"):
        check_folder(tmp_path)


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.pkl", b"")
    return stream.getvalue()


PICKLES = {f"protocol {protocol}": pickle.dumps(OSError, protocol) for protocol in range(6)}
DISGUISES = {
    **PICKLES,
    "zip": zipped(),
    "gzip": gzip.compress(b"{}"),
    "bzip2": bz2.compress(b"{}"),
    "xz": lzma.compress(b"{}"),
    "zstandard": b"(\xb5/\xfd\x04\x00\x19\x00\x00{}\x00",
    "program": b"\x7fELF\x02\x01\x01" + bytes(9),
    "windows program": b"MZ\x90\x00\x03\x00\x00\x00",
    "script": b"#!/bin/sh\ntouch mark\n",
    "latin": "größe".encode("latin-1"),
    "utf-16": "text".encode("utf-16"),
}


# A sentencepiece vocabulary may hold any bytes; pickles of protocols 0 and 1 are text. Neither is ever unpickled.
HARMLESS = {".model": {"latin", "utf-16", "protocol 0", "protocol 1"}, ".txt": {"protocol 0", "protocol 1"}}


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (kind, suffix)
        for suffix in (".json", ".safetensors", ".npy", ".txt", ".model")
        for kind in sorted(DISGUISES.keys() - HARMLESS.get(suffix, set()))
    ],
)
def test_content_that_is_not_what_the_suffix_says(tmp_path: Path, kind: str, suffix: str) -> None:
    refused(write(tmp_path, "file" + suffix, DISGUISES[kind]), LoadError)


class TestArrays:
    @pytest.mark.parametrize("version", [(1, 0), (2, 0)])
    def test_of_objects(self, tmp_path: Path, version: tuple[int, int]) -> None:
        file = write(tmp_path, "a.npy", npy(np.array([{}, OSError], dtype=object), version))
        assert "array of Python objects" in refused(file)
        write(tmp_path, "a.npy", npy(np.zeros(2, dtype=[("a", "f4"), ("b", "O")]), version))
        assert "array of Python objects" in refused(file)

    @pytest.mark.parametrize(
        "header",
        [
            b"{'descr': '\\x7cO', 'fortran_order': False, 'shape': (1,), }\n",
            b"{" + b" " * 600 + b"'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
            b'{"shape": (1,), "fortran_order": False, "descr": "O"}\n',
            b"{'descr': [('a', [('b', '|O')])], 'fortran_order': False, 'shape': (1,), }\n",
        ],
    )
    def test_of_objects_in_hiding(self, tmp_path: Path, header: bytes) -> None:
        assert "array of Python objects" in refused(write(tmp_path, "a.npy", npy_with_header(header)))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x93NUMPY",
            b"\x93NUMPY\x03\x00" + npy(np.zeros(1))[8:],
            b"\x93NUMPY\x09\x00",
            npy(np.zeros(1))[:20],
            npy_with_header(b"__import__('os').mkdir('mark')\n"),
            npy_with_header(b"{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}\n"),
            npy_with_header(b"(" * 9000 + b"\n"),
            npy_with_header(b"{" + b"1:1," * 10_000 + b"}\n"),
        ],
    )
    def test_broken(self, tmp_path: Path, content: bytes) -> None:
        assert "is no array of numpy" in refused(write(tmp_path, "a.npy", content), LoadError)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        SAFETENSORS[:-1],
        SAFETENSORS[:40],
        (2**60).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_broken_safetensors(tmp_path: Path, content: bytes) -> None:
    assert "no safetensors file, or a damaged one" in refused(write(tmp_path, "a.safetensors", content), LoadError)


class TestEntries:
    @pytest.mark.parametrize("target", ["a.json", "/etc/hostname", "missing.json", "link.json", "."])
    def test_links(self, tmp_path: Path, target: str) -> None:
        write(tmp_path, "a.json", b"{}")
        link = tmp_path / "nested" / "link.json"
        link.symlink_to(target)
        assert "symbolic link" in refused(link)

    def test_a_folder_that_loops(self, tmp_path: Path) -> None:
        (tmp_path / "nested" / "deeper").mkdir(parents=True)
        link = tmp_path / "nested" / "deeper" / "up"
        link.symlink_to(tmp_path)
        with pytest.raises(UntrustedError, match="symbolic link"):
            check_folder(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_pipes_and_sockets_are_not_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "nested").mkdir()
        pipe = tmp_path / "nested" / "a.json"
        os.mkfifo(pipe)
        refused(pipe)
        pipe.unlink()
        monkeypatch.chdir(pipe.parent)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("a.json")
            refused(pipe)

    def test_compiled_modules(self, tmp_path: Path) -> None:
        (tmp_path / "nested" / "__pycache__").mkdir(parents=True)
        refused(tmp_path / "nested" / "__pycache__")

    def test_what_cannot_be_read_is_not_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        write(tmp_path, "a.txt", b"")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", lambda path, *args: refuse(path))
            with pytest.raises(LoadError, match=r"a\.txt cannot be read: Permission denied"):
                check_folder(tmp_path)
        monkeypatch.setattr(os, "scandir", refuse)  # files of a folder that lists nothing can still be opened
        with pytest.raises(LoadError, match="cannot be read: Permission denied"):
            check_folder(tmp_path)


class TestFolders:
    def test_nested(self, tmp_path: Path) -> None:
        deepest = tmp_path.joinpath(*["d"] * 64)
        deepest.mkdir(parents=True)
        (deepest / "a.txt").write_text("")
        check_folder(tmp_path)
        (deepest / "d").mkdir()
        with pytest.raises(LoadError, match="nested more than 64 deep"):
            check_folder(tmp_path)

    def test_nested_further_than_a_path_is_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for _ in range(1900):
            os.mkdir("d")
            os.chdir("d")
        try:
            with pytest.raises(LoadError, match=f"{tmp_path} holds folders nested more than 64 deep"):
                check_folder(tmp_path)
        finally:
            subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil calls itself for each

    def test_full(self, tmp_path: Path) -> None:
        for number in range(20_000):
            os.close(os.open(tmp_path / f"{number}.txt", os.O_CREAT))
        check_folder(tmp_path)
        (tmp_path / "more.txt").write_text("")
        with pytest.raises(LoadError, match="more than 20,000 files"):
            check_folder(tmp_path)


def test_a_header_of_weights_that_is_all_names(tmp_path: Path) -> None:
    names = {str(number): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(270_000)}
    header = json.dumps(names).encode()
    file = write(tmp_path, "a.safetensors", len(header).to_bytes(8, "little") + header + b" ")
    assert "has a header of" in refused(file, LoadError)


def test_weights_of_two_files_and_gigabytes_of_holes(tmp_path: Path) -> None:
    """What no module asks for is mapped, not read."""
    header = b'{"a": {"dtype": "U8", "shape": [21474836480], "data_offsets": [0, 21474836480]}}'
    file = write(tmp_path, "a.safetensors", len(header).to_bytes(8, "little") + header)
    os.truncate(file, 8 + len(header) + 20 * 2**30)
    check_folder(tmp_path)


def test_contents_are_handed_on(tmp_path: Path) -> None:
    write(tmp_path, "a.json", b'{"a": 1}')
    write(tmp_path, "B.JSON", b"[1]")
    write(tmp_path, "c.txt", b"1")
    seen: dict[Path, Any] = {}
    check_folder(tmp_path, seen.__setitem__)
    assert seen == {tmp_path / "nested/a.json": {"a": 1}, tmp_path / "nested/B.JSON": [1]}


@given(
    st.binary(max_size=200), st.sampled_from([".json", ".safetensors", ".npy", ".txt", ".model", ".py"]), st.randoms()
)
def test_any_bytes_pass_or_are_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, randomness: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("any")
    seeds = {".npy": npy(np.zeros(3)), ".safetensors": SAFETENSORS, ".json": b'{"a": [1, 2.5]}'}
    whole = bytearray(seeds.get(suffix, b""))
    at = randomness.randrange(len(whole) + 1)
    whole[at : at + len(content)] = content
    file = write(folder, "file" + suffix, bytes(whole))
    try:
        check_folder(folder)
    except LoadError as error:
        assert str(file) in str(error)
