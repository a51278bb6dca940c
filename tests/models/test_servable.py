"""A servable comes back as it was saved, whatever it is made of, and is replaced whole or not at all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_servables import Letters, Numbers, Scaled, Sharp, embeddings, load, snapshot

from simlearn.files import LoadError, UntrustedError
from simlearn.heads import EmptyHead, GatedHead, MLPHead, SequentialHead, SkipConnectionHead
from simlearn.models import SimilarityModel
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer
from simlearn.towers import Field, Fields, TwoTower
from simlearn.towers.plan import plan

OBJECTS = [{"title": "red spoon", "body": "a", "price": 3.0}, {"title": "", "body": "list of cats", "price": -1.5}]
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@st.composite
def towers(draw: st.DrawFn, shared: list[Letters]) -> Any:
    """Fields, a dictionary of fields, or one field, over encoders of which some are shared, some with prompts."""
    text = st.sampled_from(["title", "body"])

    def leaf() -> Any:
        encoder = draw(st.sampled_from([*shared, Letters(draw(st.integers(1, 5)), seed=draw(st.integers(0, 9)))]))
        return encoder.with_prompt(draw(st.text(max_size=5))) if draw(st.booleans()) else encoder

    kind = draw(st.sampled_from(["field", "fields", "dictionary"]))
    if kind == "field":
        return Field(draw(text), leaf())
    if kind == "dictionary":
        return {
            name: Field(draw(text), leaf()) for name in draw(st.sets(st.sampled_from(["a", "B 2", "c-d"]), min_size=1))
        }
    fields: dict[str, Any] = {name: leaf() for name in draw(st.sets(text, min_size=1))}
    if draw(st.booleans()):
        fields["price"] = Numbers()
    return Fields(fields)


def head(draw: st.DrawFn, size: int) -> Any:
    kinds = [
        lambda: EmptyHead(size),
        lambda: GatedHead(size, dropout=0.1),
        lambda: MLPHead(size, [4], 3, normalization="batch"),
        lambda: SequentialHead(torch.nn.Linear(size, 3), SkipConnectionHead(3), output_size=3),
        lambda: Scaled(size),
    ]
    return draw(st.sampled_from(kinds))()


@st.composite
def models(draw: st.DrawFn) -> SimilarityModel:
    torch.manual_seed(draw(st.integers(0, 99)))
    shared = [Letters(4, seed=1), Letters(3, seed=2, frozen=True)]
    encoders = draw(towers(shared))
    if draw(st.booleans()):
        encoders = TwoTower(query=encoders, document=draw(towers(shared)))
    parts = plan(encoders)
    sizes = {role: parts.input_size(role) for role in parts.roles}
    if parts.is_symmetric or (sizes["query"] == sizes["document"] and draw(st.booleans())):
        heads: Any = draw(st.sampled_from([None, head(draw, sizes["query"])]))
    else:
        heads = {role: head(draw, size) for role, size in sizes.items()}
    scorer = draw(st.sampled_from([None, CosineScorer(), DotScorer(), DistanceScorer("euclidean"), Sharp(2.5)]))
    return SimilarityModel(encoders, heads, scorer).to(draw(st.sampled_from(DTYPES)))


@settings(max_examples=60, deadline=None)
@given(models())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, model: SimilarityModel) -> None:
    folder = tmp_path_factory.mktemp("servables")
    model.save(folder / "first")
    loaded = load(folder / "first")
    loaded.save(folder / "second")
    again = load(folder / "second")
    assert snapshot(folder / "first") == snapshot(folder / "second")
    for other in (loaded, again):
        assert {name: tensor.dtype for name, tensor in other.state_dict().items()} == {
            name: tensor.dtype for name, tensor in model.state_dict().items()
        }
        assert len(list(other.parameters())) == len(list(model.parameters()))
        assert not any(module.training for module in other.modules())
        assert (other.plan["query"], other.plan["document"]) == (model.plan["query"], model.plan["document"])
        assert type(other.scorer) is type(model.scorer)
        for first, second in zip(embeddings(model, OBJECTS), embeddings(other, OBJECTS), strict=True):
            assert first.tobytes() == second.tobytes()


def symmetric(seed: int = 0) -> SimilarityModel:
    torch.manual_seed(seed)
    return SimilarityModel(Letters(4, seed=seed), MLPHead(4, [], 2))


def test_shared_encoders_are_stored_once(tmp_path: Path) -> None:
    words = Letters(4)
    model = SimilarityModel(TwoTower(query=words.with_prompt("q: "), document=Fields(title=words, body=words)))
    model.save(tmp_path / "a")
    assert os.listdir(tmp_path / "a" / "encoders") == ["query"]
    assert len(list(load(tmp_path / "a").parameters())) == 1


def test_what_is_shared_lies_at_one_place_whoever_is_named_first(tmp_path: Path) -> None:
    first, second = Letters(4), Letters(4)
    second.letters = first.letters
    for name, encoders in (("a", {"x": first, "y": second}), ("b", {"y": second, "x": first})):
        SimilarityModel(encoders).save(tmp_path / name)
    parts = [{file: content for file, content in snapshot(tmp_path / name).items() if "/" in file} for name in "ab"]
    assert parts[0] == parts[1]
    assert "encoders/x/model.safetensors" in parts[0]


def test_a_head_for_both_towers_is_stored_once(tmp_path: Path) -> None:
    one = MLPHead(4, [], 2)
    for heads in (one, {"query": one, "document": one}):
        model = SimilarityModel(TwoTower(query=Letters(4), document=Letters(4, seed=1)), heads)
        model.save(tmp_path / "a")
        assert os.listdir(tmp_path / "a" / "heads") == ["query"]
        loaded = load(tmp_path / "a")
        assert loaded.tower("query").head is loaded.tower("document").head


def test_over_an_older_one_of_another_kind(tmp_path: Path) -> None:
    old = SimilarityModel(
        TwoTower(query=Letters(3), document=Letters(3, seed=1)), {"query": Scaled(3), "document": Scaled(3)}
    )
    old.save(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("by hand")
    symmetric().save(tmp_path / "a")
    symmetric().save(tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("path", ["new", "new/", "./a/../new", "missing/parents/new"])
@pytest.mark.parametrize("kind", [str, Path])
def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, kind: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    for seed in range(2):
        symmetric(seed).save(kind(path))
        loaded = load(kind(path))
        assert embeddings(loaded, ["a"])[0].tolist() == embeddings(symmetric(seed), ["a"])[0].tolist()
    assert load((tmp_path / path).resolve())


def test_something_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more of it")
    before = snapshot(tmp_path)
    for name in ("thesis", "file"):
        with pytest.raises(
            FileExistsError, match=rf"{name} exists and is not something simlearn saved .*servable\.json"
        ):
            symmetric().save(tmp_path / name)
    assert snapshot(tmp_path) == before


class Failing(Letters):
    """Fails in one of the ways in which a user's encoder can."""

    def __init__(self, way: str) -> None:
        super().__init__(4)
        self.way = way

    def save(self, output_path: str) -> None:
        super().save(output_path)
        if self.way == "raise":
            raise RuntimeError("no space left")
        if self.way == "interrupt":
            raise KeyboardInterrupt
        if self.way == "pt":
            torch.save(self.state_dict(), Path(output_path) / "weights.pt")
        if self.way == "config":
            (Path(output_path) / "config.json").write_text('{"auto_map": {"a": "b.C"}}')
        if self.way == "link":
            (Path(output_path) / "link.json").symlink_to("config.json")

    def get_config_dict(self) -> dict[str, Any]:
        return {"way": {1, 2} if self.way == "json" else float("nan") if self.way == "nan" else self.way}


@pytest.mark.parametrize(
    ("way", "error", "says"),
    [
        ("raise", RuntimeError, "no space left"),
        ("interrupt", KeyboardInterrupt, None),
        ("pt", UntrustedError, r"weights\.pt may not be part of a servable.*save weights as safetensors"),
        ("config", UntrustedError, r"config\.json has 'auto_map'"),
        ("link", UntrustedError, r"link\.json is a symbolic link"),
        ("json", TypeError, "config of Failing cannot be JSON"),
        ("nan", ValueError, "config of Failing cannot be JSON"),
    ],
)
def test_a_failed_save_changes_nothing(tmp_path: Path, way: str, error: type[BaseException], says: str | None) -> None:
    symmetric().save(tmp_path / "a")
    before = snapshot(tmp_path)
    for name in ("a", "b", "missing/c"):
        with pytest.raises(error, match=says):
            SimilarityModel(Failing(way)).save(tmp_path / name)
    assert snapshot(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["a", "missing"]


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    symmetric().save(tmp_path / "a")
    file = tmp_path / "a" / "encoders" / "default" / "config.json"
    SimilarityModel(Letters(5)).save(tmp_path / "b")
    (tmp_path / "b" / "encoders" / "default").rename(tmp_path / "c")
    for name in os.listdir(tmp_path / "c"):
        (file.parent / name).write_bytes((tmp_path / "c" / name).read_bytes())
    with pytest.raises(
        LoadError, match="a holds parts that do not fit each other: the query head takes embeddings of size 4"
    ):
        load(tmp_path / "a")


def test_classes_of_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Letters, "__module__", "__main__")
    symmetric().save(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(UntrustedError, match=r"__main__\.Letters is not a class of simlearn; .*classes=\(Letters,\)"):
        SimilarityModel.load(tmp_path / "a")
    assert SimilarityModel.load(tmp_path / "a", classes=[Letters]).encode("a").shape == (1, 2)


def test_classes_of_trusted_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package" / "deep"
    package.mkdir(parents=True)
    (package / "encoders.py").write_text("from tiny_servables import Letters\nclass Mine(Letters): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    mine = type("Mine", (Letters,), {"__module__": "own_package.deep.encoders", "__qualname__": "Mine"})
    SimilarityModel(mine(3)).save(tmp_path / "a")
    for trusted in ((), ("own",), ("own_package.other",)):
        with pytest.raises(UntrustedError, match=r"trusted_modules=\('own_package\.deep\.encoders',\)"):
            SimilarityModel.load(tmp_path / "a", trusted_modules=trusted)
        assert "own_package" not in sys.modules
    loaded = SimilarityModel.load(tmp_path / "a", trusted_modules=["own_package"])
    assert type(loaded.plan.encoders["default"]).__module__ == "own_package.deep.encoders"
    for name in [name for name in sys.modules if name.startswith("own_package")]:
        del sys.modules[name]


def test_structure_is_what_the_docs_say(tmp_path: Path) -> None:
    symmetric().save(tmp_path / "a")
    assert json.loads((tmp_path / "a" / "servable.json").read_text())["format_version"] == 2
    files = snapshot(tmp_path / "a").keys()
    kinds = ("component.json", "config.json", "model.safetensors")
    parts = ("encoders/default", "heads/query", "scorer")
    assert files == {"servable.json", "README.md", *(f"{part}/{kind}" for part in parts for kind in kinds)}
