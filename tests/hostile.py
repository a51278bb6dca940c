"""Watches what loading does, and payloads that would leave a mark if anything ran them."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from simlearn.files import LoadError
from simlearn.models import SimilarityModel

# What the interpreter reports when code runs, processes start, files change or modules come in.
_WATCHED = frozenset(
    "exec import open os.exec os.fork os.forkpty os.posix_spawn os.spawn os.system os.startfile subprocess.Popen"
    " os.chmod os.link os.mkdir os.remove os.rename os.rmdir os.symlink os.truncate os.putenv shutil.rmtree"
    " pickle.find_class marshal.loads code.__new__ ctypes.dlopen socket.connect socket.getaddrinfo".split()
)
_recording: list[tuple[str, tuple[Any, ...]]] | None = None


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if _recording is not None and event in _WATCHED:
        _recording.append((event, arguments))


sys.addaudithook(_record)


@dataclass
class Watch:
    """What happened: events beyond reading the folder's own files, and the kinds of modules that were built."""

    events: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)


@contextmanager
def watching(folder: Path) -> Iterator[Watch]:
    global _recording
    watch, known, construct = Watch(), set(sys.modules), nn.Module.__init__

    def counted(module: nn.Module, *args: Any, **kwargs: Any) -> None:
        watch.built.append(type(module).__name__)
        construct(module, *args, **kwargs)

    nn.Module.__init__ = counted  # type: ignore[method-assign]
    _recording = events = []
    try:
        yield watch
    finally:
        _recording, nn.Module.__init__ = None, construct  # type: ignore[method-assign]
        watch.events = [
            f"{event} {arguments!r:.200}" for event, arguments in events if not _reads(event, arguments, folder)
        ]
        watch.events += [f"imported {name}" for name in sorted(sys.modules.keys() - known)]


def _reads(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    if event != "open" or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return False
    path, mode, flags = Path(os.fsdecode(arguments[0])), arguments[1], arguments[2]
    return path.is_relative_to(folder) and (mode or "r") in ("r", "rb") and not flags & (os.O_WRONLY | os.O_RDWR)


def assert_refused(
    servable: Path, file: str, *, may_build: bool = False, says: str | None = None, **trust: Any
) -> None:
    """Loading raises and names the file, and nothing ran, was imported, written, or (unless it may be) built.

    Args:
        servable: the folder.
        file: what is wrong, relative to it.
        may_build: whether the fault shows only once the sound parts are built, by the libraries that they need.
        says: a pattern that the error must match too.
        **trust: further arguments of `SimilarityModel.load`.
    """
    with watching(servable) as watch, pytest.raises(LoadError, match=says) as caught:
        SimilarityModel.load(servable, **trust)
    assert re.search(re.escape(str(servable / file)) + r"(?!\w)", str(caught.value)), caught.value
    if may_build:  # those libraries import what they did not need before
        ordinary = ("open", "import", "exec", "marshal.loads")
        watch.events = [event for event in watch.events if not event.startswith(ordinary)]
    else:
        assert not watch.built
    assert not watch.events, watch.events
    assert "evil" not in sys.modules
    assert not mark(servable).exists()


@contextmanager
def tampered(file: Path, content: bytes | str | None = None) -> Iterator[None]:
    """A file with other content, or none, for a while; what was not there goes again."""
    folders = [folder for folder in file.parents if not folder.exists()]
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    yield
    file.unlink(missing_ok=True)
    if before is not None:
        file.write_bytes(before)
    for folder in folders:
        folder.rmdir()


def mark(servable: Path) -> Path:
    """What every payload makes."""
    return servable.parent / "mark"


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def hostile_pickle(servable: Path, protocol: int = 4) -> bytes:
    """A pickle that makes the mark when it is opened."""
    return pickle.dumps(_Payload(mark(servable)), protocol)


def hostile_zip(servable: Path) -> bytes:
    """As `torch.save` writes one."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", hostile_pickle(servable, 2))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    return stream.getvalue()


def hostile_code(servable: Path) -> str:
    """Python that makes the mark, with a class that derives from what one might look for."""
    code = ["import os", f"os.mkdir({str(mark(servable))!r})", "from simlearn.encoders import Encoder"]
    return "\n".join([*code, "class Evil(Encoder): pass", ""])
