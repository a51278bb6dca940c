"""Encoders as users write them: modules in files, imported by their paths, and what is told of them."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_numbers = itertools.count()

HEAD = """
import torch
from simlearn import Encoder

class Base(Encoder):
    trainable = False
    embedding_size = 1

    def get_collate_fn(self):
        return lambda objects: torch.tensor([[float(one)] for one in objects])
"""


def module_of(code: str, folder: Path, name: str | None = None) -> ModuleType:
    """Write a module into a folder of its own and import it, under a name that no other one has."""
    place = folder / f"place_{next(_numbers)}"
    place.mkdir(parents=True)
    called = name or f"users_{next(_numbers)}"
    path = place / f"{called}.py"
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(called, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module
    spec.loader.exec_module(module)
    return module


def encoder_of(body: str, folder: Path, *arguments: Any, **options: Any) -> Any:
    """`E` of a module that begins with `HEAD`."""
    return module_of(HEAD + body, folder).E(*arguments, **options)


def in_a_process(*command: str, folder: Path, **environment: str) -> str:
    """What Python prints in a fresh process that stands in a folder."""
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip()
