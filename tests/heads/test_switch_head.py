"""Rows of several kinds, each through the head of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simlearn.components import check_folder, load_component, save_component
from simlearn.embeddings import Embeddings
from simlearn.files import LoadError, read_json, write_json
from simlearn.heads import EmptyHead, EncoderHead, GatedHead, MLPHead, SequentialHead, SwitchHead
from simlearn.meta import Categories, Meta, columns


class Named(EncoderHead):
    """Adds its number, and remembers the meta it was given."""

    def __init__(self, number: float) -> None:
        super().__init__(2)
        self.number = number
        self.meta: Meta | None = None

    @property
    def output_size(self) -> int:
        return 2

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        self.meta = meta
        return input_vectors + self.number


def kinds(*names: str) -> Meta:
    return columns([{"encoder": name} for name in names])


@pytest.mark.parametrize("shape", [(6, 2), (6, 3, 2)])
def test_each_row_goes_through_its_head_and_order_is_kept(shape: tuple[int, ...]) -> None:
    head = SwitchHead({"a": Named(100.0), "b": Named(200.0), "c": Named(300.0)}, 2)
    x = torch.arange(6.0).reshape(6, *[1] * (len(shape) - 1)).expand(shape)
    added = torch.tensor([200.0, 100.0, 200.0, 300.0, 100.0, 200.0]).reshape(6, *[1] * (len(shape) - 1))
    assert torch.equal(head(x, kinds("b", "a", "b", "c", "a", "b")), x + added)


def test_meta_rows_go_with_their_vectors() -> None:
    a, b = Named(0.0), Named(0.0)
    meta = kinds("b", "a", "b") | {"length": torch.tensor([10, 11, 12])}
    SwitchHead({"a": a, "b": b}, 2)(torch.zeros(3, 2), meta)
    assert a.meta is not None and b.meta is not None
    lengths = a.meta["length"], b.meta["length"]
    assert [column.tolist() for column in lengths if isinstance(column, Tensor)] == [[11], [10, 12]]


def test_works_over_sequential_heads() -> None:
    torch.manual_seed(0)
    text, image = nn.Linear(3, 5), nn.Linear(3, 5)
    head = SwitchHead({"text": SequentialHead(text, output_size=5), "image": SequentialHead(image, output_size=5)}, 3)
    x = torch.randn(3, 3)
    output = head(x, kinds("image", "text", "image"))
    torch.testing.assert_close(output, torch.stack([image(x[0]), text(x[1]), image(x[2])]))


def test_dropout_of_the_options_works() -> None:
    torch.manual_seed(0)
    head = SwitchHead({"a": EmptyHead(100, dropout=0.5), "b": EmptyHead(100)}, 100)
    output = head(torch.ones(2, 100), kinds("b", "a"))
    assert output[0].eq(1).all() and set(output[1].tolist()) == {0.0, 2.0}


def test_switch_in_a_switch() -> None:
    inner = SwitchHead({"a": Named(1.0), "b": Named(2.0)}, 2)
    head = SwitchHead({"a": inner, "b": inner, "c": Named(3.0)}, 2)
    output = head(torch.zeros(4, 2), kinds("c", "b", "a", "b"))
    assert output[:, 0].tolist() == [3.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize("poison", [None, float("nan"), float("inf")])
def test_idle_option_gets_a_zero_gradient(poison: float | None) -> None:
    idle = MLPHead(3, [4], 2, normalization="batch")
    head = SwitchHead({"a": SequentialHead(nn.Linear(3, 2), output_size=2), "b": idle}, 3)
    if poison is not None:
        nn.init.constant_(next(idle.parameters()), poison)
    output = head(torch.randn(3, 3), kinds("a", "a", "a"))
    assert output.isfinite().all()
    output.sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())
    assert all(weight.grad is not None and weight.grad.eq(0).all() for weight in idle.parameters())


def test_frozen_idle_option_gets_none() -> None:
    frozen = GatedHead(3).requires_grad_(False)
    head = SwitchHead({"a": GatedHead(3), "b": frozen}, 3)
    head(torch.randn(2, 3), kinds("a", "a")).sum().backward()
    assert frozen.gates.grad is None


def test_no_rows() -> None:
    head = SwitchHead({"a": GatedHead(3), "b": GatedHead(3)}, 3)
    for shape in ((0, 3), (0, 2, 3)):
        x = torch.zeros(shape, requires_grad=True)
        output = head(x, columns([]))
        assert output.shape == shape
        output.sum().backward()
        assert x.grad is not None and all(weight.grad is not None for weight in head.parameters())


def test_names_that_modules_could_not_have() -> None:
    head = SwitchHead({"keys": Named(1.0), "a.b/c": Named(2.0), "train": Named(3.0)}, 2)
    assert head(torch.zeros(3, 2), kinds("train", "keys", "a.b/c"))[:, 0].tolist() == [3.0, 1.0, 2.0]
    assert list(head.options) == ["keys", "a.b/c", "train"]


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shared = MLPHead(3, [4], 3)
    head = SwitchHead({"text": shared, "../image": GatedHead(3), "html": shared}, 3, dropout=0.1)
    save_component(head, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, EncoderHead)
    assert isinstance(loaded, SwitchHead)
    assert list(loaded.options) == ["text", "../image", "html"] and loaded.dropout_prob == 0.1
    assert loaded.options["text"] is loaded.options["html"]
    assert sorted(path.name for path in (tmp_path / "options").iterdir()) == ["0", "1"]
    x, meta = torch.randn(3, 3), kinds("html", "../image", "text")
    assert torch.equal(loaded.eval()(x, meta), head.eval()(x, meta))


@pytest.mark.parametrize("options", [None, ["text"], {"text": "../.."}, {"text": True}, {"text": 7}, {}])
def test_damaged_files(options: Any, tmp_path: Path) -> None:
    SwitchHead({"text": GatedHead(3)}, 3).save(str(tmp_path))
    write_json(tmp_path / "config.json", {**read_json(tmp_path / "config.json"), "options": options})
    with pytest.raises(LoadError):
        SwitchHead.load(str(tmp_path))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "got no meta; use it behind a SwitchEncoder"),
        ({}, r"got columns \[\]"),
        ({"length": torch.zeros(2)}, r"got columns \['length'\]"),
        ({"encoder": torch.zeros(2)}, "got numbers there"),
        (kinds("a"), "has 1 entries for 2 objects"),
        (kinds("a", "x"), r"names options that SwitchHead lacks: unknown names \['x'\]; known are \['a', 'b'\]"),
    ],
)
def test_bad_meta(meta: Meta | None, message: str) -> None:
    head = SwitchHead({"a": GatedHead(3), "b": GatedHead(3)}, 3)
    with pytest.raises(ValueError, match=message):
        head(torch.zeros(2, 3), meta)


def test_transform_has_no_meta() -> None:
    with pytest.raises(ValueError, match="got no meta"):
        SwitchHead({"a": GatedHead(3)}, 3).transform(torch.zeros(2, 3))


def test_unknown_names_without_rows_do_no_harm() -> None:
    head = SwitchHead({"a": GatedHead(3)}, 3)
    column = Categories(torch.tensor([1, 1]), ("unknown", "a"))
    assert head(torch.zeros(2, 3), {"encoder": column}).shape == (2, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "at least one option"),
        ({"a": nn.Linear(3, 3)}, TypeError, "option 'a' must be an EncoderHead, got Linear"),
        ({"a": GatedHead(4)}, ValueError, "option 'a' takes vectors of 4 values, but SwitchHead gets 3"),
        ({"a": GatedHead(3), "b": MLPHead(3, [], 2)}, ValueError, r"vectors of one size, got \{'a': 3, 'b': 2\}"),
    ],
)
def test_bad_options(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SwitchHead(options, 3)


class First(EncoderHead):
    """The first vectors of each object, or the first one alone."""

    output_size = 2  # type: ignore[assignment]

    def __init__(self, count: int | None) -> None:
        super().__init__(2)
        self.count = count

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        if self.count is None:
            return Embeddings(embeddings.values[:, 0])
        return Embeddings(embeddings.values[:, : self.count], embeddings.full_mask()[:, : self.count])


def test_options_of_different_numbers_of_vectors_are_padded_alike() -> None:
    head = SwitchHead({"a": First(1), "b": First(3)}, 2)
    x = torch.arange(18.0).reshape(3, 3, 2)
    mask = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    embedded = head.embed(Embeddings(x, mask), kinds("a", "b", "a"))
    assert embedded.mask is not None
    assert embedded.mask.tolist() == [[True, False, False], [True, True, False], [True, False, False]]
    assert torch.equal(embedded.values[embedded.mask], torch.stack([x[0, 0], x[1, 0], x[1, 1], x[2, 0]]))
    with pytest.raises(ValueError, match=r"SwitchHead.forward would lose the mask"):
        head(x, kinds("a", "b", "a"))


def test_options_with_one_vector_and_with_many_are_refused() -> None:
    head = SwitchHead({"a": First(None), "b": First(3)}, 2)
    x = Embeddings(torch.zeros(2, 3, 2), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"all options must give one vector .*'a': \(1, 2\), 'b': \(1, 3, 2\)"):
        head.embed(x, kinds("a", "b"))
    assert head.embed(x, kinds("a", "a")).values.shape == (2, 2)


def test_a_forward_of_ones_own_and_hooks_are_kept() -> None:
    class Doubled(SwitchHead):
        def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
            return 2 * super().forward(input_vectors, meta)

    head = Doubled({"a": Named(1.0)}, 2)
    x = Embeddings(torch.zeros(2, 2))
    assert head.embed(x, kinds("a", "a")).values.eq(2).all()
    head.register_forward_hook(lambda module, given, output: output + 1)
    assert head.embed(x, kinds("a", "a")).values.eq(3).all()
