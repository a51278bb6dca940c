"""What components keep that other people wrote, without a thought of being saved."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_components import CLASSES, HEADS, SIZE, Around, Called, Doubled, Gain, Lambda, Options, Same, scaling
from tiny_servables import snapshot
from torch import nn

from simlearn.components import CannotTellError, ClassResolver, check_folder, load_component, save_component
from simlearn.heads import EncoderHead

ROOT = Path(__file__).parents[2]
X = torch.linspace(-2, 3, 3 * SIZE).reshape(3, SIZE)

each_head = pytest.mark.parametrize("name", HEADS)


def made(name: str) -> Same:
    torch.manual_seed(0)
    return HEADS[name]().eval()


def load(folder: Path) -> Any:
    check_folder(folder)
    return load_component(folder, EncoderHead, ClassResolver(CLASSES)).eval()  # type: ignore[arg-type]


@each_head
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    """None of the ten kinds is refused: no `get_config_dict`, `**kwargs`, positional-only arguments, a lambda in an
    attribute, partials, a closure, a dataclass, an array, modules, and (below) a class in `__main__`.

    Two things are refused, below: a lambda or a closure as an *argument*, of which no file can say more than that it
    was there; and a module among the arguments that is no component and keeps its own arguments under no name, so that
    nobody can tell what it was made of.
    """
    head = made(name)
    save_component(head, tmp_path / "a")
    loaded = load(tmp_path / "a")
    assert type(loaded) is type(head)
    assert loaded.get_config_dict() == head.get_config_dict()
    assert loaded.fingerprint() == head.fingerprint()
    assert torch.equal(loaded(X), head(X))
    save_component(loaded, tmp_path / "b")
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_each_is_told_from_the_others() -> None:
    assert len({made(name).fingerprint() for name in HEADS}) == len(HEADS)
    assert all(made(name).fingerprint() == made(name).fingerprint() for name in HEADS)
    assert Lambda(SIZE, 5.0).fingerprint() != Lambda(SIZE, 6.0).fingerprint()
    assert Options(SIZE, power=2).fingerprint() != Options(SIZE, power=3).fingerprint()


@pytest.mark.parametrize("function", [lambda vectors: vectors * 5, scaling(5.0)], ids=["lambda", "closure"])
def test_a_function_without_a_name_is_refused_as_an_argument(function: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="function is the function .*define it at the top of a module"):
        save_component(Called(SIZE, function), tmp_path / "a")
    assert not (tmp_path / "a").exists()


class Mute(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, size)


def test_a_module_that_keeps_none_of_its_arguments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"Mute takes the arguments 'size' and .*set self\.size = size"):
        save_component(Around(SIZE, Mute(SIZE)), tmp_path / "a")
    assert not (tmp_path / "a").exists()


@each_head
def test_copies_and_pickles_are_the_same(name: str, tmp_path: Path) -> None:
    head = made(name)
    if name == "what decides nothing":  # a lock, which nobody copies
        return
    copies = [copy.deepcopy(head)]
    if name not in ("a lambda in an attribute", "a closure"):  # which pickle cannot
        copies.append(pickle.loads(pickle.dumps(head)))
        torch.save(head, tmp_path / "head.pt")
        copies.append(torch.load(tmp_path / "head.pt", weights_only=False))
    for number, one in enumerate(copies):
        assert one.fingerprint() == head.fingerprint()
        save_component(one, tmp_path / str(number))
        assert torch.equal(load(tmp_path / str(number))(X), head(X))


class Consumed(Same):
    """Keeps neither of its arguments, and neither can be copied."""

    def __init__(self, input_embedding_size: int, gains: Any, function: Any) -> None:
        super().__init__(input_embedding_size)
        self.gain = sum(map(function, gains))


def test_arguments_that_cannot_be_copied_are_no_hindrance(tmp_path: Path) -> None:
    head = Consumed(SIZE, (one for one in (1.0, 2.0)), lambda one: one)
    for one in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        assert one.gain == 3.0
        with pytest.raises(
            TypeError, match="takes the arguments 'gains', 'function' and keeps them under no such name"
        ):
            save_component(one, tmp_path / "a")
    with pytest.raises((TypeError, CannotTellError), match="Consumed"):
        save_component(head, tmp_path / "a")


def test_saving_changes_nothing_of_what_is_saved(tmp_path: Path) -> None:
    """`Around` initialises, freezes and sets the mode of what it is given, which must not happen to a trained layer."""
    head = Around(SIZE, nn.Sequential(nn.Linear(SIZE, SIZE), nn.Dropout(), Doubled(SIZE)))
    head.inner.requires_grad_(True).train()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(0.25)
    random_state, weights = torch.get_rng_state(), [one.clone() for one in head.parameters()]
    save_component(head, tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(map(torch.equal, head.parameters(), weights))
    assert all(one.training for one in head.inner.modules()) and all(one.requires_grad for one in head.parameters())
    assert torch.equal(load(tmp_path / "a").inner[0].weight, torch.full((SIZE, SIZE), 0.25))


MAIN = """
import sys
import torch
from simlearn.encoders import BagOfTokensEncoder, HashedNGrams
from simlearn.heads import EncoderHead
from simlearn.models import SimilarityModel

class Mine(EncoderHead):
    def __init__(self, input_embedding_size, gain=1.0):
        super().__init__(input_embedding_size)
        self.factor = gain

    @property
    def output_size(self):
        return self.input_embedding_size

    def transform(self, input_vectors):
        return input_vectors * self.factor

if __name__ == "__main__":
    if sys.argv[1] == "save":
        torch.manual_seed(0)
        model = SimilarityModel(BagOfTokensEncoder(HashedNGrams(64), 4), Mine(4, 5.0))
        model.save(sys.argv[2])
    else:
        model = SimilarityModel.load(sys.argv[2], classes=(Mine,))
    print(model.encode(["red spoon"]).tobytes().hex(), model.tower("query").head.fingerprint())
"""


def test_a_class_of_a_script(tmp_path: Path) -> None:
    told = []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, task in (("train.py", "save"), ("serve.py", "load")):
        (tmp_path / name).write_text(MAIN, encoding="utf-8")
        command = [sys.executable, str(tmp_path / name), task, str(tmp_path / "servable")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert told[0] == told[1] and told[0]


def test_no_constructor_is_believed_that_draws_its_own_numbers(tmp_path: Path) -> None:
    class Drawn(Gain):
        def __init__(self, input_embedding_size: int) -> None:
            super().__init__(input_embedding_size)
            self.noise = torch.randn(input_embedding_size)

    class Registered(Gain):
        def __init__(self, input_embedding_size: int) -> None:
            super().__init__(input_embedding_size)
            self.register_buffer("noise", torch.randn(input_embedding_size))

    with pytest.raises(TypeError, match="would not come back as it is: 'noise' is "):
        save_component(Drawn(SIZE), tmp_path / "a")
    head = Registered(SIZE)
    save_component(head, tmp_path / "b")
    loaded: Any = load_component(tmp_path / "b", EncoderHead, ClassResolver((Registered,)))
    assert torch.equal(loaded.noise, head.noise)
