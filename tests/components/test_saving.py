"""What is saved comes back as it was, shared as it was, or is refused before the first file is there."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_components import CLASSES, SIZE, Around, Doubled, Gain, Same
from safetensors.torch import load_file, save_file
from tiny_models import tiny_sentence_transformer
from tiny_servables import CLASSES as TINY
from tiny_servables import Letters
from torch import Tensor, nn

from simlearn.components import ClassResolver, load_component, save_component
from simlearn.encoders import (
    TextEncoder,
)
from simlearn.heads import EncoderHead, MLPHead, SequentialHead
from simlearn.models import SimilarityModel


class Config(Same):
    """Tells its arguments itself."""

    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.factor = gain

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.factor

    def get_config_dict(self) -> dict[str, Any]:
        return {"input_embedding_size": self.input_embedding_size, "gain": self.factor}


class Below(Config):
    """Adds an argument, and leaves the config as it is."""

    def __init__(self, input_embedding_size: int, gain: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(input_embedding_size, gain)
        self.offset = shift

    def transform(self, input_vectors: Tensor) -> Tensor:
        return super().transform(input_vectors) + self.offset


class Passing(Config):
    """Likewise, by `*args` and `**kwargs`."""

    def __init__(self, *args: Any, shift: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shift = shift

    def transform(self, input_vectors: Tensor) -> Tensor:
        return super().transform(input_vectors) + self.shift


class CallingSuper(Gain):
    def __init__(self, input_embedding_size: int, gain: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(input_embedding_size, gain)
        self.offset = shift

    def transform(self, input_vectors: Tensor) -> Tensor:
        return super().transform(input_vectors) + self.offset

    def get_config_dict(self) -> dict[str, Any]:
        return {**super().get_config_dict(), "shift": self.offset}


class Forgetful(Below):
    """Its own config leaves out its own argument."""

    def __init__(self, input_embedding_size: int, gain: float = 1.0, shift: float = 0.0) -> None:
        super().__init__(input_embedding_size, gain, shift)

    def get_config_dict(self) -> dict[str, Any]:
        return {"input_embedding_size": self.input_embedding_size, "gain": self.factor}


class Mixin:
    def __init__(self, *args: Any, shift: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shift = shift

    def transform(self, input_vectors: Tensor) -> Tensor:
        return super().transform(input_vectors) + self.shift  # type: ignore[misc]


class Mixed(Mixin, Gain):
    pass


class New(Gain):
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return super().__new__(cls)


class Property(Same):
    """A property has the argument's name."""

    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size)
        self.stored = gain * 2

    @property
    def gain(self) -> float:
        return self.stored

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.stored


class NoMeta(Gain):
    """Its constructor reads the value of a tensor."""

    def __init__(self, input_embedding_size: int, gain: float = 1.0) -> None:
        super().__init__(input_embedding_size, gain)
        self.weight = nn.Parameter(torch.ones(input_embedding_size))
        self.total = float(self.weight.sum().item())

    def transform(self, input_vectors: Tensor) -> Tensor:
        return super().transform(input_vectors) * self.weight * self.total


class FromFile(Same):
    def __init__(self, path: str | Path) -> None:
        super().__init__(SIZE)
        self.path = Path(path)
        self.gain = float(self.path.read_text())

    def transform(self, input_vectors: Tensor) -> Tensor:
        return input_vectors * self.gain


class Own(Letters):
    """Saves itself."""

    def save(self, output_path: str) -> None:
        save_file({"letters": self.letters.weight.detach()}, str(Path(output_path) / "letters.safetensors"))

    @classmethod
    def load(cls, input_path: str) -> Own:
        weights = load_file(str(Path(input_path) / "letters.safetensors"))["letters"]
        encoder = cls(weights.shape[1])
        encoder.letters.weight.data = weights
        return encoder


class OwnBelow(Own):
    def __init__(self, size: int = 6, shift: float = 0.0) -> None:
        super().__init__(size)
        self.shift = shift


class SaveOnly(Gain):
    def save(self, output_path: str) -> None:
        (Path(output_path) / "gain.txt").write_text(str(self.gain))


KNOWN: tuple[Any, ...] = (*CLASSES, *TINY, Config, Below, Passing, CallingSuper, Mixed, New, Property, NoMeta, FromFile)
KNOWN += (Own,)
X = torch.linspace(-2, 3, 3 * SIZE).reshape(3, SIZE)


def back(head: Any, folder: Path) -> Any:
    save_component(head, folder)
    return load_component(folder, EncoderHead, ClassResolver(KNOWN))


class TestClasses:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: Config(SIZE, 5.0),
            lambda: Below(SIZE, 5.0, 7.0),
            lambda: Passing(SIZE, 5.0, shift=7.0),
            lambda: Passing(SIZE, gain=5.0, shift=7.0),
            lambda: CallingSuper(SIZE, 5.0, 7.0),
            lambda: Mixed(SIZE, gain=5.0, shift=7.0),
            lambda: New(SIZE, 5.0),
            lambda: Property(SIZE, 5.0),
            lambda: NoMeta(SIZE, 5.0),
        ],
    )
    def test_survive(self, make: Any, tmp_path: Path) -> None:
        head = make()
        loaded = back(head, tmp_path / "a")
        assert torch.equal(loaded(X), head(X)) and loaded.fingerprint() == head.fingerprint()
        assert loaded.get_config_dict() == head.get_config_dict()

    def test_a_config_that_forgets_an_argument_is_refused(self, tmp_path: Path) -> None:
        head = Forgetful(SIZE, 5.0, 7.0)
        head.offset = torch.nn.ReLU()  # type: ignore[assignment]
        with pytest.raises(
            TypeError, match="Forgetful would not come back as it is: 'offset' .*must return all of them"
        ):
            save_component(head, tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_a_number_that_a_config_forgets_is_set_again(self, tmp_path: Path) -> None:
        head = Forgetful(SIZE, 5.0, 7.0)
        save_component(head, tmp_path / "a")
        loaded = load_component(tmp_path / "a", EncoderHead, ClassResolver((Forgetful,)))
        assert torch.equal(loaded(X), head(X)) and loaded.fingerprint() == head.fingerprint()

    def test_a_file_that_has_changed_meanwhile_is_found_out(self, tmp_path: Path) -> None:
        (tmp_path / "gain.txt").write_text("5.0")
        head = FromFile(tmp_path / "gain.txt")
        assert torch.equal(back(head, tmp_path / "a")(X), head(X))
        (tmp_path / "gain.txt").write_text("6.0")
        assert torch.equal(back(head, tmp_path / "b")(X), head(X))
        (tmp_path / "gain.txt").unlink()
        with pytest.raises(TypeError, match="FromFile cannot be built again of its arguments .*'path'.*gain.txt"):
            save_component(head, tmp_path / "c")

    def test_an_argument_below_a_save_of_ones_own_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"takes the arguments \['shift'\], of which the save of Own does not know"):
            save_component(OwnBelow(4, 2.0), tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_a_save_without_a_load_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"SaveOnly\.save wrote no config\.json, which loading reads; define load"):
            save_component(SaveOnly(SIZE), tmp_path / "a")


class TestAttributes:
    def test_plain_ones_survive(self, tmp_path: Path) -> None:
        head = Gain(SIZE, 2.0)
        head.gain, head.note, head.table = 5.0, "a", {"a": (1, [2.5]), 3: {"x"}}  # type: ignore[attr-defined]
        loaded = back(head, tmp_path / "a")
        assert (loaded.gain, loaded.note, loaded.table) == (5.0, "a", {"a": (1, [2.5]), 3: {"x"}})
        assert loaded.fingerprint() == head.fingerprint()

    @pytest.mark.parametrize(
        "value",
        [nn.Linear(2, 2), torch.ones(2), lambda: 1, Doubled(2), open],
        ids="layer tensor lambda head open".split(),
    )
    def test_others_are_refused_by_name(self, value: Any, tmp_path: Path) -> None:
        head = Gain(SIZE)
        head.added = value  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match=r"Gain would not come back as it is: '(added|state\.added[\w.]*)' "):
            save_component(head, tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_of_simlearns_own_classes_are_refused(self, tmp_path: Path) -> None:
        head = MLPHead(SIZE, [3], 2, dropout=0.5)
        head.dropout.p = 0.25
        with pytest.raises(
            TypeError, match=r"MLPHead would not come back as it is: 'dropout.*p' is 0\.25 here and 0\.5"
        ):
            save_component(head, tmp_path / "a")


@pytest.mark.parametrize("kind", ["head", "layers", "own", "text"])
def test_quantised_models_say_so(kind: str, tmp_path: Path) -> None:
    models = {
        "head": lambda: SimilarityModel(Letters(SIZE), MLPHead(SIZE, [3], 2)),
        "layers": lambda: SimilarityModel(Letters(SIZE), SequentialHead(nn.Linear(SIZE, 2), output_size=2)),
        "own": lambda: SimilarityModel(Letters(SIZE), Around(SIZE, nn.Linear(SIZE, SIZE))),
        "text": lambda: SimilarityModel(TextEncoder(tiny_sentence_transformer(tmp_path / "source"))),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch moves quantisation to another package
        quantised = torch.ao.quantization.quantize_dynamic(models[kind](), {nn.Linear}, inplace=kind == "head")
        quantised.encode(["red spoon"])
        with pytest.raises(
            TypeError, match="is quantised: .* save the model before it is quantised, and quantise it ag"
        ):
            quantised.save(tmp_path / "a")
    assert not (tmp_path / "a").exists()
