"""What another user, whom the modes of files stop, may do: tests are often run by root, whom nothing stops."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
_OUT_OF_REACH = 77


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that every user may enter, as `tmp_path` of pytest is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for inner in [folder, *folder.rglob("*")]:
            if inner.is_dir():
                inner.chmod(0o700)  # whose contents rmtree may remove
        shutil.rmtree(folder)


def as_another_user(action: Callable[[], None]) -> None:
    """Run an action in a forked process whose user may not do everything; whatever it raises fails the test."""
    if not hasattr(os, "fork"):
        pytest.skip("this system forks no processes")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        report = b""
        try:
            os.close(read)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            if not os.access(__file__, os.R_OK):  # nor what is imported only when it is needed
                os._exit(_OUT_OF_REACH)
            action()
        except BaseException:
            report = traceback.format_exc().encode()
        finally:
            os.write(write, report[-60_000:])
            os._exit(1 if report else 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == _OUT_OF_REACH:
        pytest.skip("another user cannot reach these tests")
    assert code == 0, told
