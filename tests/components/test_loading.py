"""Folders of format version 2 that are hostile or damaged: each an error that names its file, and nothing was run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_components import Around, Gain
from hostile import watching
from hostile_cases.changes import Change, edit, together, weights_of
from safetensors.torch import save_file
from tiny_models import tiny_fasttext, tiny_sentence_transformer, tiny_vit
from torch import nn

from simlearn.components import ClassResolver, load_component, save_component
from simlearn.encoders import BagOfTokensEncoder, FasttextEncoder, HashedNGrams, ImageEncoder, TextEncoder, WordVectors
from simlearn.files import LoadError, UntrustedError
from simlearn.heads import GatedHead, SequentialHead
from simlearn.models import SimilarityModel

ENCODER, HEAD = "encoders/default/config.json", "heads/query/config.json"
ENTRY, GRAMS = "heads/query/component.json", "encoders/default/vectorizer/config.json"
WEIGHTS, MODEL = "heads/query/model.safetensors", "encoders/default/sentence_transformer"
FAR = 10**9


class Words(FasttextEncoder):
    @staticmethod
    def get_tokens(record: Any) -> list[str]:
        return str(record).split()


OWN_HEADS = "import os, subprocess\nfrom foreign_components import Gain\nclass Mine(Gain): pass\n"
CLASSES = (Words, Gain, Around)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Servables to be changed, by name; all have been loaded once, so that all that they need is imported."""
    root = tmp_path_factory.mktemp("sound")

    def bag() -> BagOfTokensEncoder:
        return BagOfTokensEncoder(HashedNGrams(32, (2,)), 4)

    model, processor = tiny_vit()
    models = {
        "text": SimilarityModel(TextEncoder(tiny_sentence_transformer(root / "source"))),
        "image": SimilarityModel(ImageEncoder(model, processor=processor)),
        "words": SimilarityModel(Words(WordVectors.from_gensim(tiny_fasttext()))),
        "bag": SimilarityModel(bag(), SequentialHead(nn.Linear(4, 4), GatedHead(4), output_size=4)),
        "foreign": SimilarityModel(bag(), Gain(4, 3.0)),
        "around": SimilarityModel(bag(), Around(4, nn.Linear(4, 4))),
    }
    for name, one in models.items():
        one.save(root / name)
        SimilarityModel.load(root / name, classes=CLASSES)
    return root


def head(**changes: Any) -> Change:
    return lambda folder: edit(folder / HEAD, **changes)


def encoder(**changes: Any) -> Change:
    return lambda folder: edit(folder / ENCODER, **changes)


def grams(**changes: Any) -> Change:
    return lambda folder: edit(folder / GRAMS, **changes)


def entry(**changes: Any) -> Change:
    return lambda folder: edit(folder / ENTRY, **changes)


def modules(*items: Any) -> Change:
    return head(modules={"$tuple": list(items)})


def layer(size: int) -> dict[str, Any]:
    return {"$layer": {"layer": "Linear", "settings": {"in_features": size, "out_features": size, "bias": False}}}


def with_weights(change: Change) -> Change:
    """So that it is not the missing file that is found."""
    return together(
        change, lambda folder: save_file({"x": torch.zeros(1)}, folder / "encoders/default/model.safetensors")
    )


def linked(folder: Path) -> None:
    """Two tensors tied to each other, in no file."""
    tie = {"inner.weight": ["heads/query", "inner.weight"]}
    edit(folder / ENTRY, ties=tie)
    save_file({"inner.bias": torch.zeros(4)}, folder / WEIGHTS)


def big_array(folder: Path) -> None:
    save_file(
        {"x": torch.zeros(30_000_000, dtype=torch.int64)}, folder / "encoders/default/vectorizer/arguments.safetensors"
    )
    edit(folder / GRAMS, lengths={"$array": "x"})


CASES: dict[str, tuple[str, str, Change]] = {
    # What would go and get a model elsewhere.
    "a model by name": ("text", ENCODER, with_weights(encoder(model="sentence-transformers/all-MiniLM-L6-v2"))),
    "a model by path": ("text", ENCODER, with_weights(encoder(model={"$path": "/srv/models/other"}))),
    "an image model by name": ("image", ENCODER, with_weights(encoder(model="google/vit-base-patch16-224"))),
    "word vectors by path": ("words", ENCODER, with_weights(encoder(vectors="/srv/vectors"))),
    # Places.
    "a part outside": ("bag", HEAD, modules({"$part": "../../outside"})),
    "a part of the system": ("bag", HEAD, modules({"$part": "/etc"})),
    "a part by a loop": ("bag", HEAD, modules({"$part": "heads/./query/modules/1"})),
    "a part that is the root": ("bag", HEAD, modules({"$part": ""})),
    "a part that is missing": ("bag", "heads/nowhere/component.json", modules({"$part": "heads/nowhere"})),
    "a part that is itself": ("bag", ENTRY, modules({"$part": "heads/query"})),
    "a part that is an encoder": ("bag", "encoders/default/component.json", modules({"$part": "encoders/default"})),
    "a part that is a scorer": ("bag", "scorer/component.json", modules({"$part": "scorer"})),
    "a part that is a list": ("bag", HEAD, modules({"$part": ["scorer"]})),
    "a vectorizer that is a head": ("bag", ENCODER, encoder(vectorizer={"$part": "heads/query"})),
    # Sizes.
    "half a million heads": ("bag", "heads/query", modules(*[{"$part": "heads/query/modules/1"}] * 400_000)),
    "a hundred thousand layers": ("bag", HEAD, modules(*[{"$layer": {"layer": "ReLU", "settings": {}}}] * 100_000)),
    "a layer of 30,000": ("around", WEIGHTS, head(inner=layer(30_000))),
    "a layer of 10**9": ("around", WEIGHTS, head(inner=layer(FAR))),
    "a layer of 10**12": ("around", HEAD, head(inner=layer(10**12))),
    "a layer and a wrong size": ("bag", "heads/query", together(modules(layer(30_000)), head(output_size="x"))),
    "a layer as a number": ("bag", "encoders/default/vectorizer", grams(buckets=layer(30_000))),
    "a table of 10**12": ("bag", "encoders/default/model.safetensors", encoder(embedding_size=10**12)),
    "buckets": ("bag", "encoders/default/model.safetensors", grams(buckets=3 * 10**8)),
    "an array of 240 MB": ("bag", "encoders/default/vectorizer/arguments.safetensors", big_array),
    "NaN": ("around", WEIGHTS, weights_of(WEIGHTS, lambda w: w["inner.bias"].fill_(torch.nan))),
    # Arguments.
    "an argument more": ("foreign", HEAD, head(evil=1)),
    "an argument called self": ("foreign", HEAD, head(self=1)),
    "an argument less": ("foreign", HEAD, lambda folder: (folder / HEAD).write_text("{}")),
    "a list of arguments": ("foreign", HEAD, lambda folder: (folder / HEAD).write_text("[]")),
    "a function of the system": ("foreign", HEAD, head(gain={"$function": {"module": "os", "class": "system"}})),
    "a partial of it": (
        "foreign",
        HEAD,
        head(gain={"$partial": [{"$function": {"module": "os", "class": "system"}}, ["true"], {}]}),
    ),
    # Ties.
    "ties that are a list": ("around", ENTRY, entry(ties=["a"])),
    "ties that are a number": ("around", ENTRY, entry(ties=5)),
    "ties to a number": ("around", ENTRY, entry(ties={"inner.weight": 3})),
    "ties to nothing": ("around", ENTRY, together(linked, entry(ties={"inner.weight": ["encoders/x", "a"]}))),
    "ties to another shape": (
        "around",
        ENTRY,
        together(linked, entry(ties={"inner.weight": ["encoders/default", "table.weight"]})),
    ),
    "ties to what has no tensors": (
        "around",
        ENTRY,
        together(linked, entry(ties={"inner.weight": ["encoders/default/vectorizer", "buckets"]})),
    ),
    "ties of a class": ("around", ENTRY, entry(ties={"inner.__class__": ["heads/query", "inner.weight"]})),
    "ties to itself": ("around", ENTRY, linked),
    # Changes.
    "a change of simlearn's class": ("bag", ENTRY, entry(changed={"_output_size": 7})),
    **{
        f"a change of {name}": ("foreign", ENTRY, entry(changed={name: 1}))
        for name in (
            "transform",
            "forward",
            "output_size",
            "__class__",
            "__dict__",
            "_modules",
            "_parameters",
            "training",
            "_given",
            "dropout",
            "a b",
            "",
            "class",
            "_forward_hooks",
            "fingerprint",
        )
    },
    "a change to a function": (
        "foreign",
        ENTRY,
        entry(changed={"note": {"$function": {"module": "torch", "class": "relu"}}}),
    ),
    "a change to a part": ("foreign", ENTRY, entry(changed={"note": {"$part": "scorer"}})),
    "a change to a layer": ("foreign", ENTRY, entry(changed={"note": layer(2)})),
    "changes that are a list": ("foreign", ENTRY, entry(changed=["gain"])),
    "changes that are nothing": ("foreign", ENTRY, entry(changed=None)),
    # Models of libraries.
    "another fingerprint": (
        "text",
        MODEL,
        lambda folder: edit(folder / MODEL / "component.json", fingerprint="0" * 32),
    ),
    "another library": (
        "text",
        MODEL,
        lambda folder: edit(folder / MODEL / "component.json", **{"module": "transformers", "class": "AutoModel"}),
    ),
    "no facts": (
        "text",
        MODEL,
        lambda folder: (folder / MODEL / "component.json").write_text(
            json.dumps({"format_version": 2, "module": "sentence_transformers", "class": "SentenceTransformer"})
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str, sound: Path, tmp_path: Path) -> None:
    base, file, change = CASES[name]
    folder = tmp_path / "servable"
    shutil.copytree(sound / base, folder)
    change(folder)
    start = time.process_time()
    with watching(folder) as watch, pytest.raises(LoadError) as caught:
        SimilarityModel.load(folder, classes=CLASSES)
    assert time.process_time() - start < 3
    assert str(folder / file) in str(caught.value), caught.value
    ordinary = ("open", "import", "exec", "marshal.loads", "code.__new__")  # by the libraries, when they are needed
    assert [event for event in watch.events if not event.startswith(ordinary)] == []


def test_what_a_trusted_module_imported_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_heads.py").write_text(
        "import os, subprocess\nfrom foreign_components import Gain\nclass Mine(Gain): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = type("Mine", (Gain,), {"__module__": "own_heads", "__qualname__": "Mine"})
    save_component(mine(4, 2.0), tmp_path / "a")
    trusted = ClassResolver((), ("own_heads",))
    assert type(load_component(tmp_path / "a", Gain, trusted)).__module__ == "own_heads"
    evil: list[Callable[[], None]] = [
        lambda: edit(tmp_path / "a/component.json", **{"class": "subprocess.Popen"}),
        lambda: edit(tmp_path / "a/component.json", **{"class": "Gain"}),
    ]
    for change in evil:
        change()
        with pytest.raises(UntrustedError, match=r"a/component\.json"):
            load_component(tmp_path / "a", object, trusted)
    edit(tmp_path / "a/component.json", **{"class": "Mine"})
    edit(tmp_path / "a/config.json", gain={"$function": {"module": "own_heads", "class": "os.system"}})
    with pytest.raises(UntrustedError, match=r"a/config\.json: own_heads\.os\.system is not a class"):
        load_component(tmp_path / "a", Gain, trusted)
