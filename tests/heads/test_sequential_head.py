"""Layers and heads one after the other, and their storage without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simlearn.components import ClassResolver, check_folder, load_component, save_component
from simlearn.components.torch_layers import SETTINGS, build, describe
from simlearn.embeddings import Embeddings
from simlearn.files import LoadError, UntrustedError, read_json, write_json
from simlearn.heads import EncoderHead, GatedHead, MLPHead, SequentialHead, SwitchHead
from simlearn.meta import Meta, columns

LAYERS: list[nn.Module] = [
    nn.AlphaDropout(0.2),
    nn.BatchNorm1d(6, eps=1e-3, momentum=None, affine=False),
    nn.BatchNorm1d(6, track_running_stats=False),
    nn.CELU(0.5),
    nn.Dropout(0.3, inplace=True),
    nn.ELU(0.7),
    nn.Flatten(1, -1),
    nn.GELU(approximate="tanh"),
    nn.Hardswish(),
    nn.Identity(1, unused=2),
    nn.LayerNorm(6, eps=1e-3, bias=False),
    nn.LayerNorm((6,), elementwise_affine=False),
    nn.LeakyReLU(0.2),
    nn.Linear(6, 6, bias=False),
    nn.Linear(6, 6),
    nn.LogSoftmax(dim=-1),
    nn.Mish(),
    nn.PReLU(6, init=0.1),
    nn.ReLU(),
    nn.ReLU6(),
    nn.RMSNorm(6, eps=1e-3),
    nn.RMSNorm((6,), elementwise_affine=False),
    nn.SELU(),
    nn.SiLU(),
    nn.Sigmoid(),
    nn.Softmax(dim=1),
    nn.Softplus(beta=2, threshold=5),
    nn.Softsign(),
    nn.Tanh(),
]


class Doubling(EncoderHead):
    """A head of a user."""

    @property
    def output_size(self) -> int:
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        return 2 * input_vectors


def saved_and_loaded(head: EncoderHead, path: Path, resolver: ClassResolver | None = None) -> EncoderHead:
    save_component(head, path)
    check_folder(path)
    return load_component(path, EncoderHead, resolver or ClassResolver())


def test_applies_modules_in_order() -> None:
    first, last = nn.Linear(4, 8), nn.Linear(8, 2)
    head, x = SequentialHead(first, nn.ReLU(), last, output_size=2), torch.randn(3, 4)
    assert torch.equal(head(x), last(first(x).relu()))
    assert torch.equal(head.transform(x), head(x))
    assert head.output_size == 2


class First(EncoderHead):
    """A pooling that keeps two vectors of each object."""

    output_size = 4  # type: ignore[assignment]

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        return Embeddings(embeddings.values[:, :2], embeddings.full_mask()[:, :2])


MANY = Embeddings(torch.arange(24.0).view(2, 3, 4), torch.tensor([[True, True, True], [True, False, False]]))


def test_poolings_among_the_modules_see_the_mask() -> None:
    last = nn.Linear(4, 2)
    embedded = SequentialHead(GatedHead(4), First(4), last, output_size=2).embed(MANY)
    assert embedded.mask is not None and embedded.mask.tolist() == [[True, True], [True, False]]
    torch.testing.assert_close(embedded.values, last(GatedHead(4)(MANY.blank().values)[:, :2]))
    with pytest.raises(ValueError, match=r"SequentialHead\.forward would lose the mask"):
        SequentialHead(First(4), output_size=4)(MANY.values)


def test_batch_normalisation_is_over_the_vectors_that_count() -> None:
    layer, mask = nn.BatchNorm1d(4), MANY.full_mask()
    embedded = SequentialHead(layer, output_size=4).embed(MANY)
    torch.testing.assert_close(embedded.values[mask].mean(0), torch.zeros(4))
    torch.testing.assert_close(layer.running_mean, 0.1 * MANY.values[mask].mean(0))


def test_a_layer_that_would_mix_padding_in_is_refused() -> None:
    head = SequentialHead(nn.Flatten(), nn.Linear(12, 2), output_size=2, input_embedding_size=4)
    assert head.embed(Embeddings(MANY.values)).values.shape == (2, 2)
    with pytest.raises(ValueError, match=r"Flatten made vectors of shape \(2, 12\) from a mask of shape \(2, 3\)"):
        head.embed(MANY)


def test_between_layers_there_may_be_more_dimensions() -> None:
    head = SequentialHead(nn.Unflatten(1, (2, 2, 1)), GatedHead(1), nn.Flatten(), output_size=4, input_embedding_size=4)
    torch.testing.assert_close(head.embed(Embeddings(torch.ones(3, 4))).values, head(torch.ones(3, 4)))


def test_a_forward_of_ones_own_is_kept() -> None:
    class Doubled(SequentialHead):
        def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
            return 2 * super().forward(input_vectors, meta)

    embedded = Doubled(nn.Identity(), output_size=4, input_embedding_size=4).embed(MANY)
    assert torch.equal(embedded.values[0], 2 * MANY.values[0]) and embedded.mask is MANY.mask


def test_is_list_like() -> None:
    first, last = nn.Linear(4, 8), nn.Linear(8, 2)
    head = SequentialHead(first, output_size=2).append(nn.ReLU()).append(last)
    assert len(head) == 3 and head[0] is first and head[-1] is last
    assert list(head) == [first, head[1], last] and head[::2] == [first, last]
    del head[1]
    assert list(head) == [first, last]
    replacement = nn.Linear(4, 8)
    head[0] = replacement
    assert head[0] is replacement and len(list(head.parameters())) == 4
    del head[:]
    assert len(head) == 0
    assert "output_size" in dir(head) and "transform" in dir(head)
    with pytest.raises(IndexError):
        head[0]


@pytest.mark.parametrize("module", [torch.relu, "relu", None])
def test_takes_only_modules(module: Any) -> None:
    head = SequentialHead(nn.Linear(4, 2), output_size=2)
    for attempt in (
        lambda: head.append(module),
        lambda: head.__setitem__(0, module),
        lambda: SequentialHead(module, output_size=2),
    ):
        with pytest.raises(TypeError, match=r"SequentialHead takes modules.* nn\.ReLU\(\)"):
            attempt()


@pytest.mark.parametrize(
    ("modules", "size"),
    [
        ([nn.Linear(4, 2)], 4),
        ([nn.Dropout(0.1), nn.LayerNorm(5), nn.Linear(5, 2)], 5),
        ([nn.BatchNorm1d(6)], 6),
        ([nn.ReLU(), GatedHead(7)], 7),
    ],
)
def test_input_size_comes_from_the_modules(modules: list[nn.Module], size: int) -> None:
    assert SequentialHead(*modules, output_size=2).input_embedding_size == size


@pytest.mark.parametrize(
    "modules",
    [[], [nn.ReLU()], [nn.Unflatten(1, (2, 2)), nn.Linear(2, 2)], [nn.Sequential(nn.Linear(4, 8)), nn.Linear(8, 2)]],
)
def test_input_size_that_the_modules_do_not_tell(modules: list[nn.Module]) -> None:
    with pytest.raises(ValueError, match="pass input_embedding_size"):
        SequentialHead(*modules, output_size=2)
    assert SequentialHead(*modules, output_size=2, input_embedding_size=4).input_embedding_size == 4


def test_output_size_that_is_wrong() -> None:
    with pytest.raises(ValueError, match="vectors of 2 values, its output_size is 3; give it the output size"):
        SequentialHead(nn.Linear(4, 2), output_size=3)(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="output_size must be at least 1"):
        SequentialHead(nn.Linear(4, 2), output_size=0)


def test_meta_reaches_nested_heads() -> None:
    options = {"text": GatedHead(4), "image": Doubling(4)}
    head = SequentialHead(nn.Identity(), SwitchHead(options, 4), output_size=4, input_embedding_size=4)
    output = head(torch.ones(2, 4), columns([{"encoder": "image"}, {"encoder": "text"}]))
    assert output[0].eq(2).all() and output[1].lt(1).all()


def test_every_allowed_layer_is_tested() -> None:
    assert {type(layer) for layer in LAYERS} | {nn.Unflatten} == set(SETTINGS)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layer_round_trip(layer: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = SequentialHead(layer, output_size=6, input_embedding_size=6)
    for _ in range(2):
        head(torch.randn(8, 6))  # batch statistics
    loaded = saved_and_loaded(head, tmp_path)
    assert isinstance(loaded, SequentialHead)
    assert repr(loaded[0]) == repr(layer) and describe(loaded[0]) == describe(layer)
    x = torch.randn(8, 6)
    assert torch.equal(loaded.eval()(x.clone()), head.eval()(x.clone()))


@pytest.mark.parametrize(
    "unflatten",
    [nn.Unflatten(1, (3, 2)), nn.Unflatten(1, torch.Size([3, 2])), nn.Unflatten(-1, (3, -1))],
    ids=str,
)
def test_unflatten_round_trip(unflatten: nn.Unflatten) -> None:
    loaded = build(json.loads(json.dumps(describe(unflatten))))
    assert isinstance(loaded, nn.Unflatten)
    assert (loaded.dim, loaded.unflattened_size) == (unflatten.dim, unflatten.unflattened_size)


def test_nested_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    inner = SequentialHead(nn.Unflatten(1, (2, 3)), nn.Flatten(), output_size=6, input_embedding_size=6)
    head = SequentialHead(nn.Linear(4, 6), MLPHead(6, [5], 6), inner, GatedHead(6), output_size=6)
    loaded, x = saved_and_loaded(head, tmp_path), torch.randn(3, 4)
    assert torch.equal(loaded(x), head(x))
    assert sorted(path.name for path in (tmp_path / "modules").iterdir()) == ["1", "2", "3"]
    stored = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert stored == {".json", ".safetensors"}


def test_module_at_two_places_is_stored_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer, gate = nn.Linear(4, 4), GatedHead(4)
    head = SequentialHead(layer, gate, nn.ReLU(), layer, gate, output_size=4)
    loaded, x = saved_and_loaded(head, tmp_path), torch.randn(3, 4)
    assert isinstance(loaded, SequentialHead)
    assert loaded[0] is loaded[3] and loaded[1] is loaded[4]
    assert torch.equal(loaded(x), head(x))


def test_shared_weights_raise_on_save(tmp_path: Path) -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    with pytest.raises(ValueError, match=r"share a weight.*EncoderHead"):
        SequentialHead(first, last, output_size=4).save(str(tmp_path / "head"))


class OwnLinear(nn.Linear):
    """Looks like a layer of the list."""


@pytest.mark.parametrize(
    "module",
    [OwnLinear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))],
    ids=lambda module: type(module).__name__,
)
def test_other_modules_raise_on_save_before_anything_is_written(module: nn.Module, tmp_path: Path) -> None:
    head = SequentialHead(nn.ReLU(), module, output_size=4, input_embedding_size=4)
    assert head(torch.zeros(2, 4)).shape == (2, 4)
    with pytest.raises(TypeError, match=r"module 1 .* cannot be saved without pickle.* EncoderHead .*Linear"):
        head.save(str(tmp_path / "head"))
    assert not (tmp_path / "head").exists()


def test_nested_head_of_a_user_must_be_trusted(tmp_path: Path) -> None:
    head = SequentialHead(nn.Linear(4, 4), Doubling(4), output_size=4)
    save_component(head, tmp_path)
    with pytest.raises(UntrustedError, match="Doubling is not a class of simlearn"):
        load_component(tmp_path, EncoderHead)
    with pytest.raises(UntrustedError):
        SequentialHead.load(str(tmp_path))
    x = torch.randn(2, 4)
    loaded = load_component(tmp_path, EncoderHead, ClassResolver(classes=(Doubling,)))
    assert torch.equal(loaded(x), head(x))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([{"layer": "Transformer", "settings": {}}], "no layer that SequentialHead saves"),
        ([{"layer": "ReLU", "settings": {"device": "cuda"}}], "no layer that SequentialHead saves"),
        ([{"layer": ["ReLU"], "settings": {}}], "no layer that SequentialHead saves"),
        ([{"layer": "Linear", "settings": {"in_features": "4"}}], "does not make a layer"),
        ([{"same_as": 0}], "must repeat an earlier one"),
        ([{"head": "GatedHead"}], "component.json is missing"),
        (["ReLU"], "must be an object"),
        ("ReLU", "lists no modules"),
        ([{"layer": "Linear", "settings": {"in_features": 4, "out_features": 3}}], "does not hold the weights"),
    ],
)
def test_damaged_files(modules: Any, message: str, tmp_path: Path) -> None:
    """In the words of format version 1; today's are those of any argument."""
    SequentialHead(nn.Linear(4, 4), output_size=4).save(str(tmp_path))
    entry = read_json(tmp_path / "component.json")
    write_json(tmp_path / "component.json", {**entry, "format_version": 1})
    write_json(tmp_path / "config.json", {**read_json(tmp_path / "config.json"), "modules": modules})
    with pytest.raises(LoadError, match=message):
        SequentialHead.load(str(tmp_path))


def test_damaged_sizes(tmp_path: Path) -> None:
    SequentialHead(nn.Linear(4, 4), output_size=4).save(str(tmp_path))
    config = read_json(tmp_path / "config.json")
    for changed in ({**config, "output_size": 0}, {**config, "unknown": 1}):
        write_json(tmp_path / "config.json", changed)
        with pytest.raises(LoadError, match="does not fit SequentialHead"):
            SequentialHead.load(str(tmp_path))
