"""Other processes: two that talk through gloo, kept for all tests of a run, and forks that may be killed."""

from __future__ import annotations

import atexit
import faulthandler
import importlib
import importlib.util
import inspect
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
import torch.distributed as dist

WORLD_SIZE = 2
PATIENCE = 120
"""Seconds after which another process is taken for one that hangs."""


def run_on_two(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """Call a function in two processes at once.

    Args:
        function: of simlearn, or of a test module, which the processes load by its path.
        *arguments: for each process the function's arguments.

    Returns:
        What it returned in each process.
    """
    module, path, name = function.__module__, inspect.getfile(function), function.__qualname__
    if len(arguments) != WORLD_SIZE:
        raise ValueError(f"give the arguments of {WORLD_SIZE} processes, got {len(arguments)}")
    processes = _processes()
    for process, own in zip(processes, arguments, strict=True):
        _write(_pipe(process.stdin), (module, path, name, own))
    answers = []
    for rank, process in enumerate(processes):
        worked, answer = _read(_pipe(process.stdout))
        if not worked:
            _stop(processes)  # the other one may wait in a collective for ever
            _processes.cache_clear()
            raise AssertionError(f"process {rank} failed\n{answer}")
        answers.append(answer)
    return answers


def forked(action: Callable[[], Any]) -> int:
    """Start a function in a fork, of which the id is returned; it exits with 0, or with 1 where it raised.

    One that hangs, as forks of a process with threads may, tells where it stands, and ends.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            # An alarm, not a watchdog thread: one that pytest has started is not there, and would be waited for.
            faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
            signal.alarm(PATIENCE)
            torch.set_num_threads(1)  # those of the process that was forked are not there
            action()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def until(seen: Callable[[], bool]) -> None:
    """Wait until something is seen of another process, however slow the machine is."""
    deadline = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < deadline, f"nothing was seen for {PATIENCE} s"
        time.sleep(0.001)


def kill_when(child: int, seen: Callable[[], bool]) -> None:
    """Kill a forked process with SIGKILL as soon as something is seen of it."""
    try:
        until(seen)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@cache
def _processes() -> tuple[subprocess.Popen[bytes], ...]:
    meeting = tempfile.mkdtemp()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    started = tuple(
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(Path(meeting) / "store")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        for rank in range(WORLD_SIZE)
    )
    atexit.register(_stop, started)
    return started


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()


def _pipe(pipe: Any) -> BinaryIO:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    opened: BinaryIO = pipe
    return opened


def _write(pipe: BinaryIO, message: Any) -> None:
    content = pickle.dumps(message)
    pipe.write(len(content).to_bytes(8, "little") + content)
    pipe.flush()


def _read(pipe: BinaryIO) -> Any:
    size = pipe.read(8)
    if not size:
        return False, "it ended"
    return pickle.loads(pipe.read(int.from_bytes(size, "little")))


@cache
def _module(name: str, path: str) -> Any:
    if name.partition(".")[0] == "simlearn":
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(path).stem] = module
    spec.loader.exec_module(module)
    return module


def _serve(rank: int, store: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not mix with the answers
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD_SIZE, timeout=timedelta(seconds=PATIENCE)
    )
    while size := sys.stdin.buffer.read(8):
        module, path, name, arguments = pickle.loads(sys.stdin.buffer.read(int.from_bytes(size, "little")))
        try:
            _write(answers, (True, getattr(_module(module, path), name)(*arguments)))
        except BaseException:
            _write(answers, (False, traceback.format_exc()))


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
