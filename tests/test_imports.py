"""`import simlearn` is light, and its public names are what they claim to be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import simlearn

HEAVY = (
    "torch",
    "numpy",
    "pytorch_lightning",
    "lightning_fabric",
    "sentence_transformers",
    "transformers",
    "torchmetrics",
)


def modules_after(code: str) -> set[str]:
    """The names of the modules that a fresh interpreter holds after running `code`."""
    output = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('|'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(output.strip().splitlines()[-1].split("|"))


def test_importing_the_root_loads_nothing_heavy() -> None:
    assert not modules_after("import simlearn") & set(HEAVY)


@pytest.mark.parametrize("names", ["SimilarityModel", "TextEncoder, ImageEncoder", "TripletLoss", "SkipConnectionHead"])
def test_the_inference_ring_knows_no_lightning(names: str) -> None:
    loaded = modules_after(f"from simlearn import {names}")
    assert not loaded & {
        "pytorch_lightning",
        "lightning_fabric",
        "sentence_transformers",
        "transformers",
        "torchmetrics",
    }


def test_loaders_know_no_lightning() -> None:
    assert "pytorch_lightning" not in modules_after("from simlearn import PairsSimilarityDataLoader, CacheConfig")


@pytest.mark.parametrize("name", simlearn.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(simlearn, name) is not None


def test_a_typo_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'TripletLos'"):
        _ = simlearn.TripletLos  # type: ignore[attr-defined]


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(Path(simlearn.__file__).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (node.module.removeprefix("simlearn."), alias.name)
        for node in guard.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == {(room, name) for name, room in simlearn._HOME.items()}
    assert sorted(simlearn.__all__) == sorted(simlearn._HOME)
    assert set(simlearn.__all__) <= set(dir(simlearn))
