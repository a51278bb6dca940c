"""What of a module of torch decides besides its tensors, also within models of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_models import tiny_sentence_transformer
from torch import nn
from transformers import BertConfig, BertModel

from simlearn import TextEncoder
from simlearn.components import Teller
from simlearn.components.structure import Structure, structure_of, tensors_of


def told(module: nn.Module) -> bytes:
    return Teller().tell(module)


def bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    return BertModel(config).eval()


class Doubled(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, batch: Any) -> Any:
        return 2 * self.inner(batch)


def test_a_model_is_told_by_its_configuration_and_what_was_changed_within() -> None:
    first = told(bert())
    assert told(bert()) == first

    def hooked(model: Any) -> None:
        model.encoder.layer[0].output.register_forward_hook(lambda module, inputs, output: output * 2)

    def replaced(model: Any) -> None:
        model.encoder.layer[0].output = Doubled(model.encoder.layer[0].output)

    def shadowed(model: Any) -> None:
        model.encoder.layer[0].output.forward = lambda hidden, inputs: hidden

    found = {first}
    for change in (hooked, replaced, shadowed):
        model = bert()
        change(model)
        found.add(told(model))
    assert len(found) == 4


def test_training_mode_gradients_and_where_it_stands_do_not_count() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
    first = told(model)
    assert told(model.eval().requires_grad_(False)) == first
    assert told(nn.Sequential(*reversed(model))) != first


class Scaled(Pooling):
    def __init__(self, scale: float) -> None:
        super().__init__(8, "mean")
        self.scale = scale


def test_a_users_module_over_one_of_a_library_is_told_by_its_attributes_too() -> None:
    assert told(Scaled(1.0)) == told(Scaled(1.0))
    assert told(Scaled(1.0)) != told(Scaled(3.0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_modules_are_told_by_their_code_and_attributes() -> None:
    class One(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch * self.scale

    class Other(One):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return batch + self.scale

    digests = [told(torch.jit.script(made)) for made in (One(1.0), One(1.0), One(3.0), Other(1.0))]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_tensors_are_all_that_a_module_holds() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("lost", torch.ones(1), persistent=False)
    module.twin = module.weight
    assert set(tensors_of(module)) == {"weight", "bias", "twin", "lost"}
    assert set(structure_of(nn.Sequential(module))) == {"module 0"}
    assert isinstance(structure_of(nn.Sequential(module))["module 0"], Structure)
    meta = nn.Linear(2, 2, device="meta")
    assert told(meta) == told(nn.Linear(2, 2, device="meta")) != told(nn.Linear(2, 3, device="meta"))


def test_what_was_changed_within_simlearns_own_encoders_is_seen(tmp_path: Path) -> None:
    def encoder() -> TextEncoder:
        torch.manual_seed(0)
        return TextEncoder(tiny_sentence_transformer(tmp_path))

    first = encoder().fingerprint()
    assert encoder().fingerprint() == first
    hooked = encoder()
    hooked.model[0].register_forward_hook(lambda module, inputs, output: output)
    outside = encoder()
    outside.register_forward_hook(lambda module, inputs, output: output * 2)
    shadowed = encoder()
    shadowed.model[1].forward = lambda features: features
    assert len({first, *(one.fingerprint() for one in (hooked, outside, shadowed))}) == 4
