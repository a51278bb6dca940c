"""Encoders that say other things have other identities."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from simlearn.encoders import BagOfTokensEncoder, Encoder, HashedNGrams
from simlearn.towers.identity import identity
from simlearn.towers.plan import Part

PART = Part("default", "default")
CODE = '''
import torch
from simlearn import Encoder

def collate(texts, scale=1):
    return torch.tensor([[float(len(text)) * scale] for text in texts])

class Lengths(Encoder):
    """Says how long a text is."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor

    trainable = False
    embedding_size = 1

    def get_collate_fn(self):
        return collate

    def forward(self, batch):
        return batch * self.factor

    def get_config_dict(self):
        return {"factor": self.factor}
'''


def encoder_of(code: str, path: Path, **options: Any) -> Encoder:
    path.write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("users_module", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Encoder = module.Lengths(**options)
    return made


def test_what_decides_the_vectors_changes_the_identity(tmp_path: Path) -> None:
    def of(number: int, code: str = CODE, **options: Any) -> str:
        return identity(PART, encoder_of(code, tmp_path / f"users_{number}.py", **options))

    first = of(0)
    assert of(1) == first
    assert of(2, CODE.replace("def forward", "# a remark\n    def  forward")) == first
    others = [
        of(3, factor=2.0),
        of(4, CODE.replace("batch * self.factor", "batch + self.factor")),
        of(5, CODE.replace("scale=1", "scale=2")),
    ]
    assert len({first, *others}) == 4


def test_prompt_weights_and_precision_count() -> None:
    torch.manual_seed(0)
    one, other = (BagOfTokensEncoder(HashedNGrams(100), embedding_size=4) for _ in range(2))
    found = {
        identity(PART, one),
        identity(PART, other),
        identity(PART, one, torch.bfloat16),
    }
    assert len(found) == 3
    assert identity(Part("title", "words", field="title"), one) == identity(PART, one), "a place is no property"


def test_code_without_source_is_told_by_what_it_does(tmp_path: Path) -> None:
    def of(code: str) -> str:
        space: dict[str, Any] = {"__name__": "typed"}
        exec(code, space)
        return identity(PART, space["Lengths"]())

    assert of(CODE) == of(CODE)
    assert of(CODE) != of(CODE.replace("batch * self.factor", "batch + self.factor"))
    assert of(CODE) != of(CODE.replace("float(len(text))", "float(len(text) + 7)"))


class Called:
    def __call__(self, texts: list[str]) -> list[str]:
        return texts


@pytest.mark.parametrize("collate", [Called(), partial(len), len], ids=["object", "partial", "built in"])
def test_any_callable_may_collate(collate: Any, tmp_path: Path) -> None:
    encoder = encoder_of(CODE, tmp_path / "users.py")
    encoder.get_collate_fn = lambda: collate  # type: ignore[method-assign]
    assert len(identity(PART, encoder)) == 32


def test_what_the_collate_function_binds_and_the_meta_extractor_count(tmp_path: Path) -> None:
    bound = CODE.replace("return collate", "return functools.partial(collate, scale=SCALE)")
    bound = bound.replace("import torch", "import torch, functools\nSCALE = 1")
    extracting = CODE + "\n    def extract_meta(self, objects):\n        return [{'n': len(one)} for one in objects]\n"
    found = [
        identity(PART, encoder_of(code, tmp_path / f"users_{number}.py"))
        for number, code in enumerate(
            [
                bound,
                bound.replace("SCALE = 1", "SCALE = 2"),
                extracting,
                extracting.replace("len(one)", "len(one) + 1"),
            ]
        )
    ]
    assert len(set(found)) == 4


def test_an_attribute_that_is_set_later_counts(tmp_path: Path) -> None:
    encoder = encoder_of(CODE, tmp_path / "users.py")
    first = identity(PART, encoder)
    encoder.factor = 3.0  # type: ignore[assignment]
    assert identity(PART, encoder) != first
