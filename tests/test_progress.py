"""A progress bar waits for no other process."""

from __future__ import annotations

import subprocess
import sys

import pytest

KILLED = """
import os, signal
from tqdm.auto import tqdm
from simlearn.progress import Bar

with tqdm(total=1):  # makes the lock that forks share
    pass
child = os.fork()
if not child:
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
assert not tqdm.get_lock().locks[0].acquire(block=False), "it is held for ever"
for hidden in (True, False):
    with Bar(total=2, desc="Encoding", disable=hidden) as bar:
        bar.update(2)
    print("hidden" if hidden else "shown")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills")
def test_a_fork_killed_while_it_drew_stops_nobody() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["hidden", "shown"]
    assert done.stderr.count("Encoding") >= 1
