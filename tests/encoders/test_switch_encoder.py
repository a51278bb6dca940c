"""SwitchEncoder sends each object to one encoder and restores the order."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_sentence_transformer
from torch import Tensor, nn

from simlearn import meta
from simlearn.components import ClassResolver, check_folder, load_component, save_component
from simlearn.embeddings import Embeddings
from simlearn.encoders import Encoder, SwitchEncoder, TextEncoder
from simlearn.files import LoadError, UntrustedError, read_json, write_json


class Scale(Encoder):
    """Encodes a number x as (x, w x), with dropout and a weight that may be frozen."""

    def __init__(self, factor: float = 1.0, trainable: bool = True, size: int = 2) -> None:
        super().__init__()
        self.config = {"factor": factor, "trainable": trainable, "size": size}
        self.weight = nn.Parameter(torch.tensor(factor))
        self.dropout = nn.Dropout(0.5)

    @property
    def trainable(self) -> bool:
        return bool(self.config["trainable"])

    @property
    def embedding_size(self) -> int:
        return int(self.config["size"])

    def forward(self, batch: Tensor) -> Tensor:
        return torch.stack([batch.float(), self.weight * batch], dim=1)

    def get_config_dict(self) -> dict[str, Any]:
        return self.config


class Many(Scale):
    """As many vectors as the number says."""

    def get_collate_fn(self) -> Any:
        return torch.tensor

    def forward(self, batch: Tensor) -> Embeddings:  # type: ignore[override]
        longest = int(batch.max())
        mask = torch.arange(longest) < batch[:, None]
        return Embeddings(self.weight * torch.ones(len(batch), longest, 2), mask)


class BySign(SwitchEncoder):
    @staticmethod
    def encoder_selection(record: float) -> str:
        return "negative" if record < 0 else "type"


class Unsure(SwitchEncoder):
    @classmethod
    def encoder_selection(cls, record: object) -> str:
        return "nowhere"


def by_sign(**options: bool) -> BySign:
    return BySign({"type": Scale(10.0, **options), "negative": Scale(100.0)})


def test_order_is_restored() -> None:
    encoder = by_sign()
    embeddings = encoder(encoder.get_collate_fn()([3, -1, 4, -2, 5]))
    expected = torch.tensor([[3.0, 30.0], [-1.0, -100.0], [4.0, 40.0], [-2.0, -200.0], [5.0, 50.0]])
    torch.testing.assert_close(embeddings, expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-9, 9), max_size=12))
def test_every_batch_is_encoded_as_its_objects_one_by_one(records: list[int]) -> None:
    encoder = by_sign()
    collate = encoder.get_collate_fn()
    alone = [encoder(collate([record])) for record in records]
    expected = torch.cat(alone) if alone else torch.zeros(0, 2)
    torch.testing.assert_close(encoder(collate(records)), expected)


def test_branch_without_objects_is_left_out() -> None:
    batch = by_sign().get_collate_fn()([1, 2])
    assert list(batch["batches"]) == ["type"]


def test_gradient_reaches_the_branches_used() -> None:
    encoder = by_sign()
    encoder(encoder.get_collate_fn()([3, -1, 4])).sum().backward()
    assert [option.weight.grad.item() for option in encoder.options.values()] == [7.0, -1.0]


def test_many_vectors_an_object() -> None:
    encoder = BySign({"type": Many(2.0), "negative": Many(3.0)})
    collate = encoder.get_collate_fn()
    batch = {
        "ordering": torch.tensor([1, 0, 2]),
        "batches": {"type": torch.tensor([1]), "negative": torch.tensor([3, 2])},
    }
    encoded = encoder(batch)
    assert isinstance(encoded, Embeddings)
    assert encoded.mask is not None
    assert encoded.mask.sum(1).tolist() == [3, 1, 2]
    assert encoded.values[:, 0, 0].tolist() == [3.0, 2.0, 3.0]
    assert encoder(collate([2, 1])).values.shape == (2, 2, 2)


def test_meta_names_the_option_and_carries_no_weights() -> None:
    encoder = by_sign()
    rows = encoder.extract_meta([3, -1])
    assert rows == [{"encoder": "type"}, {"encoder": "negative"}]
    assert meta.columns(rows)["encoder"].names == ("negative", "type")
    extract = encoder.get_meta_extractor()
    assert pickle.loads(pickle.dumps(extract))([3, -1]) == rows
    assert len(pickle.dumps(extract)) < 500


def test_collate_of_light_branches_is_light(tmp_path: Path) -> None:
    text = TextEncoder(tiny_sentence_transformer(tmp_path, hidden_size=256))
    encoder = BySign({"type": text, "negative": text})
    assert len(pickle.dumps(encoder.get_collate_fn())) < sum(weight.nbytes for weight in text.parameters()) / 50


def test_prompts_reach_the_branches(tmp_path: Path) -> None:
    class Short(SwitchEncoder):
        @staticmethod
        def encoder_selection(record: str) -> str:
            return "short" if len(record) < 5 else "long"

    text = TextEncoder(tiny_sentence_transformer(tmp_path))
    encoder = Short({"short": text, "long": text})
    prompted = text(text.get_prompted_collate_fn("query: ")(["hello world"]))
    torch.testing.assert_close(encoder(encoder.get_prompted_collate_fn("query: ")(["hello world"])), prompted)
    with pytest.raises(TypeError, match="Scale has no prompts"):
        by_sign().get_prompted_collate_fn("query: ")


class TestFrozenBranch:
    def test_stays_frozen_and_in_eval_mode_beside_a_trainable_one(self) -> None:
        encoder = by_sign(trainable=False)
        assert encoder.trainable
        for _ in range(2):
            frozen, trainable = encoder.options["type"], encoder.options["negative"]
            assert not any(module.training for module in frozen.modules())
            assert not any(weight.requires_grad for weight in frozen.parameters())
            assert all(module.training for module in trainable.modules())
            assert all(weight.requires_grad for weight in trainable.parameters())
            encoder.eval().train()

    def test_nested_twice(self) -> None:
        class Outer(SwitchEncoder):
            @staticmethod
            def encoder_selection(record: float) -> str:
                return "inner"

        inner = by_sign(trainable=False)
        outer = Outer({"inner": inner})
        outer.requires_grad_(True)
        outer.freeze_if_required()
        assert not inner.options["type"].weight.requires_grad
        assert inner.options["negative"].weight.requires_grad

    def test_all_frozen(self) -> None:
        encoder = BySign({"type": Scale(trainable=False), "negative": Scale(trainable=False)})
        assert not encoder.trainable
        assert not encoder.train().training


class TestBadOptions:
    def test_unknown_choice(self) -> None:
        encoder = Unsure({"a": Scale(), "b": Scale()})
        with pytest.raises(ValueError, match=r"chose 'nowhere' for 3; the options are \['a', 'b'\]"):
            encoder.get_collate_fn()([3])
        with pytest.raises(ValueError, match="nowhere"):
            encoder.extract_meta([3])

    def test_unequal_sizes(self) -> None:
        with pytest.raises(ValueError, match=r"one embedding size, got \{'type': 2, 'negative': 3\}"):
            BySign({"type": Scale(), "negative": Scale(size=3)})

    @pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "a.b"])
    def test_names_that_are_paths(self, name: str) -> None:
        with pytest.raises(ValueError, match="option name"):
            BySign({name: Scale()})

    def test_others(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            BySign({})
        with pytest.raises(ValueError, match="share a folder"):
            BySign({"a": Scale(), "A": Scale()})
        with pytest.raises(TypeError, match="'type' must be an Encoder, got Linear"):
            BySign({"type": nn.Linear(1, 1)})  # type: ignore[dict-item]

    def test_selection_that_would_carry_the_weights(self) -> None:
        class Heavy(SwitchEncoder):
            def encoder_selection(self, record: object) -> str:  # type: ignore[override]
                return "type"

        class Missing(SwitchEncoder):
            pass

        with pytest.raises(TypeError, match="must be a @staticmethod or @classmethod"):
            Heavy({"type": Scale()})
        with pytest.raises(TypeError, match="must define encoder_selection"):
            Missing({"type": Scale()})


class TestSaving:
    def test_options_find_their_classes(self, tmp_path: Path) -> None:
        encoder = by_sign(trainable=False)
        save_component(encoder, tmp_path)
        check_folder(tmp_path)
        loaded = load_component(tmp_path, Encoder, ClassResolver(classes=(BySign, Scale)))
        assert isinstance(loaded, BySign)
        assert list(loaded.options) == ["type", "negative"]
        assert loaded.fingerprint() == encoder.fingerprint()
        assert not loaded.options["type"].trainable

    def test_untrusted_option(self, tmp_path: Path) -> None:
        save_component(by_sign(), tmp_path)
        with pytest.raises(UntrustedError, match="Scale is not a class of simlearn"):
            load_component(tmp_path, Encoder, ClassResolver(classes=(BySign,)))

    @pytest.mark.parametrize("options", [["../outside"], ["type", "missing"], "type", None, [3], []])
    def test_damaged(self, tmp_path: Path, options: object) -> None:
        save_component(by_sign(), tmp_path / "a")
        save_component(Scale(), tmp_path / "outside")
        write_json(tmp_path / "a/config.json", {"options": options})
        with pytest.raises(LoadError):
            load_component(tmp_path / "a", Encoder, ClassResolver(classes=(BySign, Scale)))

    def test_same_weights_under_other_names_are_another_encoder(self) -> None:
        one = BySign({"type": Scale(1.0), "negative": Scale(2.0)})
        other = BySign({"negative": Scale(1.0), "type": Scale(2.0)})
        assert one.fingerprint() != other.fingerprint()

    def test_config_names_options_only(self, tmp_path: Path) -> None:
        by_sign().save(str(tmp_path))
        parts = {name: {"$part": f"options/{name}"} for name in ("type", "negative")}
        assert read_json(tmp_path / "config.json") == {"options": parts}
