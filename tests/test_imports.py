"""`import simlearn` is light, and its public names are what they claim to be."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
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
    tree = ast.parse(Path(simlearn.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    seen = [
        (node.module, alias.name, alias.asname)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    ]
    for room, name, public in seen:
        assert public == name, f"{name} is public to type checkers once it reads `{name} as {name}`"
        assert getattr(simlearn, name) is getattr(import_module(f"simlearn.{room}"), name)
    assert sorted(simlearn.__all__) == sorted(name for _, name, _ in seen)
    assert set(simlearn.__all__) <= set(dir(simlearn))


@pytest.mark.parametrize("name", "BaseEvaluator BestWeights LossResult ModelCard Qrels".split())
def test_what_programs_need_beside_the_classes_they_build_is_public(name: str) -> None:
    assert name in simlearn.__all__


def imported_names(text: str) -> set[str]:
    """What a page or a program imports from the library, or names by its whole path, as dotted names."""
    found = set(re.findall(r"\bsimlearn(?:\.[A-Za-z_]\w*)+", text))
    for room, names in re.findall(r"from (simlearn[\w.]*) import (\([^)]*\)|[\w, ]+)", text):
        found |= {f"{room}.{name.split()[0]}" for name in names.strip("()").split(",") if name.split()}
    return found


def looked_up(dotted: str) -> object:
    """A module, or what a module holds."""
    first, *rest = dotted.split(".")
    value: object = import_module(first)
    for depth, name in enumerate(rest, start=2):
        path = ".".join(dotted.split(".")[:depth])
        if hasattr(value, name):
            value = getattr(value, name)
        else:
            value = import_module(path)
    return value


ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.rst", *sorted(ROOT.glob("docs/**/*.rst"))]
PROGRAMS = sorted(ROOT.glob("examples/**/*.py"))


def test_names_are_found_in_pages() -> None:
    text = "``from simlearn import A``. from simlearn.b import (\n  C,\n  D as E,\n)\n`simlearn.f.G` "
    text += "from simlearn import H, I"
    assert imported_names(text) - {"simlearn.b"} == {f"simlearn.{name}" for name in "A b.C b.D f.G H I".split()}
    with pytest.raises(ImportError, match="TripletLos"):
        looked_up("simlearn.TripletLos")


@pytest.mark.parametrize("path", [*PAGES, *PROGRAMS], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_or_an_example_imports_is_there(path: Path) -> None:
    for dotted in sorted(imported_names(path.read_text(encoding="utf-8"))):
        assert looked_up(dotted) is not None


def test_classes_that_pages_name_are_public() -> None:
    rooms = [import_module(f"simlearn.{room.name}") for room in pkgutil.iter_modules(simlearn.__path__)]
    classes = {
        name
        for room in rooms
        for name, value in vars(room).items()
        if inspect.isclass(value) and value.__module__.startswith("simlearn.") and not name.startswith("_")
    }
    assert len(classes) > 100
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        literals = re.findall(r"``[^`]+``|:\w+:`[^`]+`|autoclass:: \S+", text)
        named = set(re.findall(r"\w+", " ".join([*literals, *imported_names(text)])))
        assert named & classes <= set(simlearn.__all__), f"{page.name} names classes that `from simlearn import` lacks"
