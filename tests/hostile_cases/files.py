"""Files that are huge, deep, many, or not what they seem."""

from __future__ import annotations

import os
from pathlib import Path

from hostile_cases.changes import MODEL, Change, holes, raw


def nested(folder: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(1900):  # the whole path is longer than one call takes
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


def many_files(folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(20_100):
        os.close(os.open(folder / "many" / f"{number}.txt", os.O_CREAT))


FILES: dict[str, Change] = {
    **{
        f"20 GB of {file}": holes(file, head)
        for file, head in [
            ("servable.json", b"{"),
            ("encoders/default/component.json", b'{"format_version": 1, "'),
            ("encoders/default/config.json", b""),
            (f"{MODEL}/config.json", b"["),
            (f"{MODEL}/tokenizer.json", b'{"'),
            (f"{MODEL}/README.md", b"# model\n" + b"x" * 70_000),
            (f"{MODEL}/vocab.txt", b"a\n" * 40_000),
            (f"{MODEL}/more.model", b""),
            ("README.md", b"# model\n" + b"x" * 70_000),
        ]
    },
    **{
        f"servable.json: {name}": raw("servable.json", content)
        for name, content in {
            "lists": b"[" * 10_000_000,
            "objects": b'{"a":' * 1_000_000,
            "closed lists": b"[" * 10_000 + b"]" * 10_000,
            "many lists": b"[" + b"[]," * 12_000_000 + b"[]]",
            "many numbers": b"[" + b"1.5," * 9_000_000 + b"1]",
            "many texts": b"[" + b'"\xc3\xa9",' * 7_000_000 + b'"a"]',
            "a text": b'"' + b"x" * 49_000_000 + "\U0001f600".encode() + b'"',
            "a long text": b'"' + b"x" * 99_000_000 + b'"',
            "a long wide text": b'"' + b"x" * 99_000_000 + "\U0001f600".encode() + b'"',
            "a number": b'{"format_version": ' + b"9" * 4_000_000 + b"}",
            "an exponent": b'{"format_version": 1e999999999}',
            "escapes": b'"' + b"\\u00e9" * 7_000_000 + b'"',
            "an open text": b'{"a": "' + b"\\" * 10_000_001,
            "nothing": b"",
        }.items()
    },
    "1,900 folders": nested,
    "20,100 files": many_files,
    "a pipe": lambda folder: os.mkfifo(folder / MODEL / "more.json"),
    "a device": lambda folder: (folder / MODEL / "more.json").symlink_to("/dev/zero"),
    "a link out": lambda folder: (folder / MODEL / "more.txt").symlink_to("/etc/passwd"),
    "Python": raw(f"{MODEL}/evil.py", b"import os\n"),
    "a pickle": raw(f"{MODEL}/pytorch_model.bin", b"\x80\x04N."),
}
