"""Whatever a constructor does to what it is given, it did not happen."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from simlearn.components.untouched import ReadOnly, copied, untouched


class Holder:
    """An object of one's own that holds a module."""

    def __init__(self, module: nn.Module) -> None:
        self.inner = [module]


@pytest.mark.parametrize("around", [lambda one: one, lambda one: [one], lambda one: {"a": (one,)}, Holder])
def test_modules_are_as_before(around: Any) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    parts, hook = dict(module.named_children()), module[0].register_forward_hook(lambda *given: None)
    with untouched([around(module)]):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        module[0].weight.data.fill_(3)
        module[0].bias.data = torch.zeros(2)
        module.requires_grad_(False).eval()
        module.note = "a"
        module.append(nn.ReLU())
        hook.remove()
        module[1].reset_running_stats()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    assert module.training and all(one.requires_grad for one in module.parameters())
    assert dict(module.named_children()) == parts and not hasattr(module, "note")
    assert len(module[0]._forward_hooks) == 1


def test_random_states_are_as_before() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with untouched([]):
        torch.randn(3), np.random.rand(3), random.random()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_it_ends_with_an_error_too() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), untouched([layer]):
        layer.eval()
        raise RuntimeError
    assert layer.training


def test_others_may_be_written() -> None:
    kept, other = torch.ones(3), torch.ones(3)
    with ReadOnly([kept, "no tensor"]):
        kept[:2].zero_()
        torch.add(other, 1, out=kept)
        other.zero_()
    assert kept.tolist() == [1, 1, 1] and other.tolist() == [0, 0, 0]


def test_containers_are_copied_and_what_is_in_them_is_not() -> None:
    layer = nn.ReLU()
    given = {"a": [layer, {1, 2}], "b": (layer,)}
    found = copied(given)
    assert found == given and found["a"] is not given["a"] and found["a"][0] is layer
    found["a"].append(1)
    found["a"][1].add(3)
    assert given["a"] == [layer, {1, 2}]
