"""Temporary folders end with their process, also when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from simlearn.files import temporary_folder

ROOT = str(Path(__file__).parents[2])
MAKE = """
import os, signal, sys
from simlearn.files import temporary_folder
from simlearn.store import DiskTable
folder = temporary_folder()
DiskTable(folder / "text", description={})
print(folder, flush=True)
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
    assert (folder / "text").exists()
elif sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def make(how: str, folder: Path) -> Path:
    env = {**os.environ, "PYTHONPATH": ROOT, "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", MAKE, how], env=env, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if how == "kill" else 0)
    return Path(done.stdout.strip())


@pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills")
def test_a_temporary_folder_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not make("fork", tmp_path).exists()
    abandoned = make("kill", tmp_path)
    assert abandoned.parent == tmp_path and (abandoned / "text").exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = temporary_folder()
    assert os.listdir(tmp_path) == [own.name]
    other = temporary_folder()
    assert sorted(os.listdir(tmp_path)) == sorted([own.name, other.name])
