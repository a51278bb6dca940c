"""A hundred hostile servables, each refused or harmless: in under 2 seconds and 500 MB, and asking nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.version1_classes import SERVABLES
from hostile_cases import CASES, HARMLESS

ROOT = Path(__file__).parents[2]


def load_all(folders: list[Path]) -> Iterator[dict[str, Any]]:
    """What one fresh process tells of each; of one that ends the process, that it did, and a new process goes on."""
    # The process has no offline variable, so that what is asked is seen.
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    environment = {name: value for name, value in os.environ.items() if name not in offline}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    while folders:
        command = [sys.executable, str(ROOT / "tests/hostile_loading.py"), *map(str, folders)]
        with tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=900
            )
            errors.seek(0)
            said = errors.read()[-2000:]
        told = [json.loads(line) for line in done.stdout.splitlines()]
        yield from told
        folders = folders[len(told) :]
        if folders:
            assert told, said  # it did not even begin
            yield {"name": folders[0].name, "outcome": f"ended the process with {done.returncode}: {said}"}
            folders = folders[1:]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What became of each."""
    root = tmp_path_factory.mktemp("hundred")
    names = {}
    for number, (name, (base, change)) in enumerate(CASES.items()):
        folder = root / str(number)
        shutil.copytree(SERVABLES / base, folder)
        config = folder / "encoders/default/config.json"
        if base == "text":
            config.write_text(json.dumps({**json.loads(config.read_text()), "fingerprint": None}))
        change(folder)
        names[folder] = name
    told = {names[root / outcome["name"]]: outcome for outcome in load_all(list(names))}
    if report := os.environ.get("HOSTILE_REPORT"):
        Path(report).write_text(json.dumps(told, indent=1))
    yield told
    subprocess.run(["rm", "-rf", str(root)], check=True)  # shutil's way calls itself for each of 1,900 folders


def test_there_are_a_hundred() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("name", CASES)
def test_refused_or_harmless(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    outcome = outcomes[name]
    refused = outcome["outcome"] in ("LoadError", "UntrustedError")
    assert refused or (name in HARMLESS and outcome["is_exception"]), outcome
    assert "interrupted after" not in outcome["says"], outcome
    assert outcome["cpu_seconds"] < 2, outcome  # of the processor: other processes may have it meanwhile
    assert outcome["megabytes"] < 500, outcome
    assert not outcome["asked"], outcome
