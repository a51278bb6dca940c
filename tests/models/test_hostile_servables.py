"""A servable may name only classes that stand at their place, and only its own parts; nothing else is imported."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import assert_refused, hostile_pickle, hostile_zip, mark, tampered, watching

from simlearn.files import LoadError
from simlearn.models import SimilarityModel

ENCODER = "encoders/query/component.json"
HEAD = "heads/query/component.json"
NESTED_HEAD = "heads/document/modules/1/component.json"
PLACES = [ENCODER, HEAD, NESTED_HEAD, "scorer/component.json"]


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    """Replace JSON by what `change` makes of it; None keeps what it was changed into."""
    content = json.loads(file.read_text(encoding="utf-8"))
    changed = change(content)
    file.write_text(json.dumps(content if changed is None else changed), encoding="utf-8")


def test_the_sound_one_loads_and_only_its_files_are_read(servable: Path) -> None:
    with watching(servable) as watch:
        model = SimilarityModel.load(servable)
    assert {event for event in watch.events if not event.startswith(("open", "exec", "import"))} == set()
    assert "TextEncoder" in watch.built
    assert model.encode_query(["red spoon"]).shape == (1, 6)


class TestThePayloadsWork:
    """Were they run, the mark would be there."""

    @pytest.mark.parametrize("protocol", range(6))
    def test_pickle(self, servable: Path, protocol: int) -> None:
        with watching(servable) as watch:
            pickle.loads(hostile_pickle(servable, protocol))
        assert mark(servable).exists()
        assert any("mkdir" in event for event in watch.events)

    def test_zip(self, servable: Path) -> None:
        (servable / "model.pt").write_bytes(hostile_zip(servable))
        torch.load(servable / "model.pt", weights_only=False)
        assert mark(servable).exists()

    def test_module(self, servable: Path) -> None:
        with watching(servable) as watch:
            importlib.import_module("evil")
        del sys.modules["evil"]
        assert mark(servable).exists()
        assert "imported evil" in watch.events


class TestClasses:
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("os", "makedirs"),
            ("os", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("builtins", "type"),
            ("builtins", "__import__"),
            ("importlib", "import_module"),
            ("evil", "Evil"),
            ("pickle", "Unpickler"),
            ("torch.nn", "Linear"),
            ("torch.hub", "load"),
            ("simlearn.encoders.text_encoder", "TextEncoder"),
            ("simlearn.encoders.fasttext_encoder", "FasttextEncoder"),
            ("simlearn.components", "load_module"),
            ("simlearn.components.folders", "load_module"),
            ("simlearn.encoders", "CollateFn"),
            ("simlearn.encoders", "_pretrained"),
            ("simlearn.heads", "__builtins__"),
            ("simlearn.heads", "MLPHead.load"),
            ("simlearn.training", "TrainableModel"),
            ("simlearn", "fit"),
            ("/etc", "passwd"),
            ("..evil", "Evil"),
        ],
    )
    def test_foreign(self, servable: Path, module: str, name: str) -> None:
        entry = json.dumps({"format_version": 1, "module": module, "class": name})
        arguments = {"name": str(mark(servable)), "args": ["mkdir", str(mark(servable))], "source": "1/0"}
        for place in PLACES:
            settings = (servable / place).with_name("config.json")
            with tampered(servable / place, entry), tampered(settings, json.dumps(arguments)):
                assert_refused(servable, place, says="is not a class of simlearn")

    @pytest.mark.parametrize("entry", [{"module": None}, {"class": ["eval"]}, {"module": {"os": 1}}, {"class": 3}])
    def test_no_names(self, servable: Path, entry: dict[str, Any]) -> None:
        for place in PLACES:
            with tampered(servable / place, json.dumps({"format_version": 1, "module": "a", "class": "B", **entry})):
                assert_refused(servable, place, says="must name a module and a class")

    @pytest.mark.parametrize("version", [3, 10**400, True, "1", 1.0, None, 0, -1, [1]])
    def test_format_version(self, servable: Path, version: Any) -> None:
        for place in PLACES:
            entry = json.loads((servable / place).read_text())
            with tampered(servable / place, json.dumps({**entry, "format_version": version})):
                assert_refused(servable, place, says=r"format.version|is not JSON")

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"{}", b"3", b"[" * 200_000, b'{"a": NaN}', b"\xff{}", b"{'a': 1}"]
    )
    def test_no_entry(self, servable: Path, content: bytes) -> None:
        for place in PLACES:
            with tampered(servable / place, content):
                assert_refused(servable, place)

    @pytest.mark.parametrize("place", PLACES)
    def test_missing_or_a_folder(self, servable: Path, place: str) -> None:
        (servable / place).unlink()
        assert_refused(servable, place, says="missing", may_build=place == NESTED_HEAD)
        (servable / place).mkdir()
        assert_refused(servable, place, says="cannot be read")


@pytest.mark.parametrize(
    ("place", "module", "name"),
    [
        (ENCODER, "simlearn.heads", "MLPHead"),
        (ENCODER, "simlearn.encoders", "Prompted"),
        (ENCODER, "simlearn.encoders", "HashedNGrams"),
        (HEAD, "simlearn.encoders", "TextEncoder"),
        (HEAD, "simlearn.scoring", "CosineScorer"),
        (NESTED_HEAD, "simlearn.encoders", "TextEncoder"),
        ("scorer/component.json", "simlearn.heads", "EmptyHead"),
    ],
)
def test_a_class_of_the_wrong_base(servable: Path, place: str, module: str, name: str) -> None:
    edit(servable / place, lambda entry: entry | {"module": module, "class": name})
    assert_refused(servable, place, says=" is no .* which stands at this place", may_build=place == NESTED_HEAD)


@pytest.mark.parametrize(
    ("place", "module", "name"),
    [
        (ENCODER, "simlearn.encoders", "Encoder"),
        (HEAD, "simlearn.heads", "EncoderHead"),
        (HEAD, "simlearn.heads", "EmptyHead"),
    ],
)
def test_a_class_of_the_right_base_that_is_not_the_one(servable: Path, place: str, module: str, name: str) -> None:
    edit(servable / place, lambda entry: entry | {"module": module, "class": name})
    with pytest.raises(LoadError, match=str(servable)):
        SimilarityModel.load(servable)


def test_trust_in_one_module_is_no_trust_in_another(servable: Path) -> None:
    edit(servable / ENCODER, lambda entry: entry | {"module": "evil", "class": "Evil"})
    for trusted in ((), ("evil2",), ("evil.more",), ("e",), ("",), ("encoders",)):
        assert_refused(servable, ENCODER, trusted_modules=trusted, says=r"trusted_modules=\('evil',\)")


NAMES = ["../../evil", "/etc", "..", ".", "", "a/b", "a\\b", "query\0", "~", "größe", 3, None, ["query"], {"a": 1}]


@pytest.mark.parametrize(
    "change",
    [
        *(lambda content, name=name: content | {"encoders": [name]} for name in NAMES),
        *(lambda content, name=name: content | {"heads": ["query", name]} for name in NAMES),
        *(lambda content, name=name: content["towers"]["query"][0].update(encoder=name) for name in NAMES),
        *(lambda content, name=name: content["towers"]["query"][0].update(name=name) for name in NAMES),
        *(lambda content, text=text: content["towers"]["query"][0].update(field=text) for text in (1, ["a"], True)),
        *(lambda content, text=text: content["towers"]["query"][0].update(prompt=text) for text in (1, {}, False)),
        lambda content: content["towers"]["query"][0].update(encoder="keys"),
        lambda content: content["towers"]["query"][0].update(other=1),
        lambda content: content["towers"].update(third=content["towers"]["query"]),
        lambda content: content["towers"].pop("query"),
        lambda content: content["towers"].update(document=[]),
        lambda content: content["towers"].update(document="query"),
        lambda content: content["towers"].update(document=None),
        lambda content: content["towers"]["document"].append(content["towers"]["document"][0]),
        lambda content: content | {"towers": []},
        lambda content: content | {"heads": []},
        lambda content: content | {"heads": ["document"]},
        lambda content: content | {"heads": ["query", "query", "third"]},
        lambda content: content | {"encoders": "query"},
        lambda content: content | {"encoders": ["query", "other"]},
        lambda content: content | {"encoders": ["query", "query"]},
        lambda content: content | {"encoders": {}},
        lambda content: content | {"kind": "RankingModel"},
        lambda content: content | {"kind": None},
        *(
            lambda content, key=key: content.pop(key) and content
            for key in ("encoders", "towers", "heads", "card", "kind")
        ),
        *(lambda content, card=card: content | {"card": card} for card in (None, [], {}, {"name": 1}, {"evil": 1})),
        lambda content: content["card"].update(scores=[1]),
        *(lambda content, v=v: content | {"format_version": v} for v in (3, True, "1", None, 1.0, 0)),
        lambda content: [content],
    ],
)
def test_structure(servable: Path, change: Callable[[Any], Any]) -> None:
    edit(servable / "servable.json", change)
    assert_refused(servable, "servable.json")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 200_000, b'{"format_version": 1e999}', b"\x80\x04N.", b"\xff\xfe{\x00}\x00"]
)
def test_structure_that_is_no_json(servable: Path, content: bytes) -> None:
    (servable / "servable.json").write_bytes(content)
    assert_refused(servable, "servable.json")


def test_not_a_servable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "servable.json").mkdir(parents=True)
    assert_refused(tmp_path / "missing", "", says="missing; a servable is a folder")
    assert_refused(tmp_path / "file", "", says="not a folder; a servable is a folder")
    assert_refused(tmp_path / "folder", "", says=r"is not a servable: it has no servable\.json")
