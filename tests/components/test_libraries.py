"""Models of other libraries among the arguments are saved by these, and found out when damaged."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch
from foreign_components import SIZE
from tiny_models import tiny_sentence_transformer, tiny_tokenizer, tiny_vit
from torch import Tensor, nn

from simlearn.components import ClassResolver, check_folder, is_known, libraries, load_component, save_component
from simlearn.encoders import Encoder
from simlearn.files import LoadError, read_json, write_json


class Tokens(Encoder):
    """A user's encoder over a tokenizer that it is given."""

    def __init__(self, tokenizer: object, size: int = SIZE) -> None:
        super().__init__()
        self.tokenizer, self.size = tokenizer, size
        self.table = nn.EmbeddingBag(len(tokenizer), size)  # type: ignore[arg-type]

    @property
    def embedding_size(self) -> int:
        return self.size

    def get_collate_fn(self) -> object:  # type: ignore[override]
        return lambda texts: self.tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]  # type: ignore[operator]

    def forward(self, batch: Tensor) -> Tensor:
        return self.table(batch)


class Wrapped(Encoder):
    """Around any model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def embedding_size(self) -> int:
        return SIZE

    def forward(self, batch: Tensor) -> Tensor:
        return self.model(batch)


RESOLVER = ClassResolver((Tokens, Wrapped))


def test_a_tokenizer(tmp_path: Path) -> None:
    encoder = Tokens(tiny_tokenizer())
    save_component(encoder, tmp_path / "a")
    check_folder(tmp_path / "a")
    entry = read_json(tmp_path / "a/tokenizer/component.json")
    assert is_known(entry) and entry["class"] == "AutoTokenizer"
    loaded = load_component(tmp_path / "a", Encoder, RESOLVER)
    texts = ["red spoon", "a"]
    assert torch.equal(
        loaded(loaded.get_collate_fn()(texts)), encoder(encoder.get_collate_fn()(texts))  # type: ignore[operator]
    )  # fmt: skip
    assert loaded.fingerprint() == encoder.fingerprint()


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_model_in_a_class_of_ones_own(kind: str, tmp_path: Path) -> None:
    model = tiny_sentence_transformer(tmp_path / "source") if kind == "text" else tiny_vit()[0]
    encoder = Wrapped(model)
    save_component(encoder, tmp_path / "a")
    check_folder(tmp_path / "a")
    loaded = load_component(tmp_path / "a", Encoder, RESOLVER)
    assert loaded.fingerprint() == encoder.fingerprint()
    for file in (tmp_path / "a").rglob("*"):
        assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) & 0o044


@pytest.mark.parametrize("change", ["fingerprint", "class", "weights"])
def test_damage_is_found_out(change: str, tmp_path: Path) -> None:
    save_component(Wrapped(tiny_vit()[0]), tmp_path / "a")
    folder = tmp_path / "a" / "transformers"
    entry = read_json(folder / "component.json")
    if change == "weights":
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(content)
    else:
        other = {"fingerprint": "0" * 32} if change == "fingerprint" else {"class": "AutoTokenizer"}
        write_json(folder / "component.json", {**entry, **other})
    with pytest.raises(LoadError, match="a/transformers "):
        load_component(tmp_path / "a", Encoder, RESOLVER)


def test_what_is_none_of_them() -> None:
    assert libraries.of(nn.Linear(2, 2)) is None and libraries.of("text") is None
    assert libraries.named({"module": "transformers", "class": "AutoConfig"}) is None
    assert not is_known({"module": "os", "class": "system"})


def test_nan_is_refused(tmp_path: Path) -> None:
    model = tiny_vit()[0]
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = torch.nan
    with pytest.raises(ValueError, match="holds NaN: training has diverged"):
        save_component(Wrapped(model), tmp_path / "a")
    assert not (tmp_path / "a").exists()
