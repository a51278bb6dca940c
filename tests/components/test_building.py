"""Modules come back as they were saved: weights, dtypes, ties and class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_servables import Letters, Scaled, snapshot
from torch import Tensor, nn

from simlearn.components import (
    ClassResolver,
    component_entries,
    is_own,
    load_component,
    load_module,
    load_weights,
    save_component,
    save_module,
)
from simlearn.encoders import Encoder
from simlearn.files import LoadError, UntrustedError, read_json, write_json
from simlearn.heads import EncoderHead, MLPHead

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Pair(nn.Module):
    """Two layers of one size, tied by the constructor or not."""

    def __init__(self, size: int = 4, tie: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(size, size)
        self.second = nn.Linear(size, size)
        if tie:
            self.second.weight = self.first.weight


def same_state(first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0, equal_nan=True)


class TestWeights:
    @settings(max_examples=25, deadline=None)
    @given(size=st.integers(1, 5), dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)))
    def test_come_back_with_their_dtypes(
        self, tmp_path_factory: pytest.TempPathFactory, size: int, dtypes: tuple[torch.dtype, torch.dtype]
    ) -> None:
        folder = tmp_path_factory.mktemp("module")
        module = Pair(size)
        module.first.to(dtypes[0])
        module.second.to(dtypes[1])
        save_module(module, folder, {"size": size})
        loaded = load_module(Pair, folder)
        same_state(module, loaded)
        again = folder / "again"
        save_module(loaded, again, {"size": size})
        assert snapshot(again) == {name: content for name, content in snapshot(folder).items() if "again" not in name}

    @pytest.mark.parametrize("built_tied", [True, False])
    def test_tied_weights_are_stored_once(self, tmp_path: Path, built_tied: bool) -> None:
        module = Pair(tie=True)
        save_module(module, tmp_path, {"tie": built_tied})
        assert load_file(tmp_path / "model.safetensors").keys() == {"first.weight", "first.bias", "second.bias"}
        loaded = load_module(Pair, tmp_path)
        same_state(module, loaded)
        assert (loaded.first.weight is loaded.second.weight) == built_tied

    def test_untied_weights_do_not_fit_tied_ones(self, tmp_path: Path) -> None:
        """What a constructor ties holds one value, so the second one of the file would silently win."""
        save_module(Pair(), tmp_path, {"tie": True})
        with pytest.raises(LoadError, match=r"ties first\.weight and second\.weight, which differ in the file"):
            load_module(Pair, tmp_path)

    def test_none_at_all(self, tmp_path: Path) -> None:
        save_module(nn.Identity(), tmp_path, {})
        assert not load_module(nn.Identity, tmp_path).state_dict()

    def test_a_layer_under_two_names(self, tmp_path: Path) -> None:
        layer = nn.BatchNorm1d(3)
        save_module(nn.ModuleDict({"a": layer, "b": layer}), tmp_path, {})
        other = nn.BatchNorm1d(3)
        loaded = nn.ModuleDict({"a": other, "b": other})
        load_weights(loaded, tmp_path / "model.safetensors")
        same_state(layer, other)

    @pytest.mark.parametrize(
        "view", [lambda t: t[:2], lambda t: t.T, lambda t: t.flatten(), lambda t: t[:1].expand(4, 4)]
    )
    def test_views_of_one_memory(self, tmp_path: Path, view: Any) -> None:
        module = nn.Module()
        module.register_buffer("whole", torch.randn(4, 4))
        module.register_buffer("view", view(module.whole))
        save_module(module, tmp_path, {})
        loaded = nn.Module()
        loaded.register_buffer("whole", torch.zeros(4, 4))
        loaded.register_buffer("view", torch.zeros(module.view.shape))
        load_weights(loaded, tmp_path / "model.safetensors")
        same_state(module, loaded)

    def test_gradients_and_modes_are_the_constructors(self, tmp_path: Path) -> None:
        module = Pair()
        module.first.requires_grad_(False)
        save_module(module, tmp_path, {})
        assert all(weight.requires_grad for weight in load_module(Pair, tmp_path).parameters())

    def test_state_that_is_no_tensor(self, tmp_path: Path) -> None:
        class WithExtra(nn.Module):
            def get_extra_state(self) -> Any:
                return {"a": 1}

        with pytest.raises(TypeError, match="WithExtra keeps '_extra_state' in its state, a dict and no tensor"):
            save_module(WithExtra(), tmp_path, {})

    @pytest.mark.parametrize(
        ("config", "error"), [({"a": torch.ones(1)}, TypeError), ({"a": float("nan")}, ValueError)]
    )
    def test_config_that_is_no_json(self, tmp_path: Path, config: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error, match=r"config of Pair cannot be JSON: .*get_config_dict must return numbers"):
            save_module(Pair(), tmp_path, config)


def drop(weights: dict[str, Tensor]) -> None:
    del weights["first.weight"]


def add(weights: dict[str, Tensor]) -> None:
    weights["third"] = torch.zeros(1)


def reshape(weights: dict[str, Tensor]) -> None:
    weights["first.bias"] = torch.zeros(5)


def integers(weights: dict[str, Tensor]) -> None:
    weights["first.bias"] = torch.zeros(4, dtype=torch.int64)


class TestDamage:
    @pytest.mark.parametrize("damage", [drop, add, reshape, integers])
    def test_weights_that_do_not_fit(self, tmp_path: Path, damage: Any) -> None:
        save_module(Pair(), tmp_path, {})
        weights = load_file(tmp_path / "model.safetensors")
        damage(weights)
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(LoadError, match=r"model\.safetensors does not hold the weights of Pair"):
            load_module(Pair, tmp_path)

    def test_names_in_the_metadata_fill_no_gap(self, tmp_path: Path) -> None:
        save_module(Pair(), tmp_path, {})
        weights = load_file(tmp_path / "model.safetensors")
        save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt", "third": "first.bias"})
        with pytest.raises(LoadError, match="third"):
            load_module(Pair, tmp_path)

    def test_truncated_weights(self, tmp_path: Path) -> None:
        save_module(Pair(), tmp_path, {})
        file = tmp_path / "model.safetensors"
        content = file.read_bytes()
        for length in (0, 4, 20, len(content) - 1):
            file.write_bytes(content[:length])
            with pytest.raises(LoadError, match=r"model\.safetensors does not hold"):
                load_module(Pair, tmp_path)
        file.unlink()
        with pytest.raises(LoadError, match=r"model\.safetensors is missing"):
            load_module(Pair, tmp_path)

    @pytest.mark.parametrize(
        "config",
        [{"unheard": 1}, [], "text", 3, {"size": "a"}, {"size": -1}, {"size": 10**15}, {"size": 10**30}, {"self": 1}],
    )
    def test_config_that_does_not_fit(self, tmp_path: Path, config: Any) -> None:
        save_module(Pair(), tmp_path, {})
        write_json(tmp_path / "config.json", config)
        with pytest.raises(LoadError, match=r"config\.json does not fit Pair"):
            load_module(Pair, tmp_path)


class TestComponent:
    def test_class_settings_and_weights(self, tmp_path: Path) -> None:
        head = MLPHead(4, [3], 2, dropout=0.5)
        save_component(head, tmp_path)
        assert read_json(tmp_path / "component.json") == {
            "format_version": 2,
            "module": "simlearn.heads",
            "class": "MLPHead",
        }
        loaded = load_component(tmp_path, EncoderHead)
        assert type(loaded) is MLPHead
        same_state(head, loaded)

    def test_foreign_class(self, tmp_path: Path) -> None:
        save_component(Letters(seed=3), tmp_path)
        with pytest.raises(UntrustedError, match=r"component\.json: .*Letters is not a class .* pass the class itself"):
            load_component(tmp_path, Encoder)
        same_state(load_component(tmp_path, Encoder, ClassResolver([Letters])), Letters(seed=3))

    def test_entries_of_a_tree(self, tmp_path: Path) -> None:
        save_component(Scaled(2), tmp_path / "b" / "c")
        save_component(MLPHead(4, [], 2), tmp_path / "a")
        entries = component_entries(tmp_path)
        assert list(entries) == [tmp_path / "a" / "component.json", tmp_path / "b" / "c" / "component.json"]
        assert [is_own(entry) for entry in entries.values()] == [True, False]

    def test_whatever_loading_raises_names_the_folder(self, tmp_path: Path) -> None:
        class Broken(Letters):
            error: Exception = KeyError("lost")

            @classmethod
            def load(cls, input_path: str) -> Encoder:
                raise cls.error

        save_component(Broken(), tmp_path / "a")
        with pytest.raises(LoadError, match=r"a cannot be loaded as Broken: KeyError 'lost'"):
            load_component(tmp_path / "a", Encoder, ClassResolver([Broken]))
        Broken.error = ImportError("pip install it")
        with pytest.raises(ImportError, match="pip install it"):
            load_component(tmp_path / "a", Encoder, ClassResolver([Broken]))

    def test_load_that_returns_something_else(self, tmp_path: Path) -> None:
        class Other(Letters):
            @classmethod
            def load(cls, input_path: str) -> Any:
                return Scaled(2)

        save_component(Other(), tmp_path)
        with pytest.raises(LoadError, match=r"Other\.load returned a Scaled, not a Other"):
            load_component(tmp_path, Encoder, ClassResolver([Other]))
