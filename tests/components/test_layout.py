"""Which classes are abstract, what they override, and what may be set of their objects."""

from __future__ import annotations

from pathlib import Path

import pytest
from foreign_components import Gain, Same

from simlearn.components.layout import defined_below, is_abstract, may_be_changed, overrides, read_entry
from simlearn.encoders import Encoder, TextEncoder, WordVectors
from simlearn.files import LoadError, write_json
from simlearn.heads import EncoderHead, MLPHead
from simlearn.scoring import Scorer


class Settings(Gain):
    label = "a"

    @property
    def double(self) -> float:
        return 2 * self.gain

    def get_config_dict(self) -> dict[str, float]:
        return {"input_embedding_size": self.input_embedding_size, "gain": self.gain}


class Below(Settings):
    def __init__(self, input_embedding_size: int) -> None:
        super().__init__(input_embedding_size)


def test_abstract() -> None:
    assert all(map(is_abstract, (Encoder, EncoderHead, Scorer, type("Half", (Scorer,), {"paired": None}))))
    assert not any(map(is_abstract, (TextEncoder, MLPHead, Same, Gain)))


def test_overrides() -> None:
    assert overrides(Settings, "get_config_dict") and not overrides(Gain, "get_config_dict")
    assert overrides(WordVectors, "save") and not overrides(MLPHead, "save") and not overrides(int, "save")
    assert defined_below(Below, "__init__", "get_config_dict")
    assert not defined_below(Settings, "__init__", "get_config_dict")


@pytest.mark.parametrize(("name", "may"), [("gain", True), ("label", True), ("new", True), ("double", False)])
def test_what_may_be_set(name: str, may: bool) -> None:
    assert may_be_changed(Settings, name) == may


@pytest.mark.parametrize("name", ["transform", "__class__", "_modules", "training", "_given", "a b", "class", ""])
def test_what_may_not(name: str) -> None:
    assert not may_be_changed(Settings, name)
    assert not may_be_changed(MLPHead, "anything")


def test_newer_formats_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "component.json", {"format_version": 3})
    with pytest.raises(LoadError, match="upgrade simlearn"):
        read_entry(tmp_path / "component.json")
