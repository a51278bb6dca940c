"""What every head of simlearn must keep to, whatever it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simlearn import heads
from simlearn.components import check_folder, load_component, save_component
from simlearn.embeddings import Embeddings
from simlearn.files import LoadError
from simlearn.heads import (
    AttentionPooling,
    CLSPooling,
    EmptyHead,
    EncoderHead,
    FirstM,
    GatedFusionHead,
    GatedHead,
    LastTokenPooling,
    LearntCodes,
    MaxPooling,
    MeanPooling,
    MLPHead,
    Pooling,
    SequentialHead,
    SkipConnectionHead,
    SoftmaxEmbeddingsHead,
    StackedProjectionHead,
    SwitchHead,
    TokenProjection,
    WideningHead,
)
from simlearn.meta import Meta, columns, index_select

SIZE = 8
ROWS = 12
SHAPES = [(ROWS, SIZE), (ROWS, 3, SIZE)]

Factory = Callable[[float], EncoderHead]

# One way to make each head, from a dropout.
FACTORIES: dict[type[EncoderHead], Factory] = {
    EmptyHead: lambda dropout: EmptyHead(SIZE, dropout=dropout),
    GatedFusionHead: lambda dropout: GatedFusionHead([5, 2, 1], 6, dropout=dropout),
    GatedHead: lambda dropout: GatedHead(SIZE, dropout=dropout),
    MLPHead: lambda dropout: MLPHead(SIZE, [16, 12], 5, activation="gelu", normalization="batch", dropout=dropout),
    SequentialHead: lambda dropout: SequentialHead(
        nn.Dropout(dropout), nn.Linear(SIZE, 6), nn.Tanh(), GatedHead(6), nn.LayerNorm(6), output_size=6
    ),
    SkipConnectionHead: lambda dropout: SkipConnectionHead(SIZE, dropout=dropout, skip_dropout=dropout, n_layers=2),
    SoftmaxEmbeddingsHead: lambda dropout: SoftmaxEmbeddingsHead(3, 4, SIZE, dropout=dropout),
    StackedProjectionHead: lambda dropout: StackedProjectionHead(SIZE, [16, 5], activation_fn="silu", dropout=dropout),
    SwitchHead: lambda dropout: SwitchHead(
        {
            "text": MLPHead(SIZE, [16], 5, activation="gelu", dropout=dropout),
            "image": SequentialHead(nn.Dropout(dropout), nn.Linear(SIZE, 5), output_size=5),
        },
        SIZE,
        dropout=dropout,
    ),
    TokenProjection: lambda dropout: TokenProjection(SIZE, 5, dropout=dropout),
    WideningHead: lambda dropout: WideningHead(SIZE, expansion_factor=2.0, activation_fn="elu", dropout=dropout),
}
NEED_META = {SwitchHead}

# Likewise of poolings, which take many vectors alone.
POOLINGS: dict[type[Pooling], Callable[[float], Pooling]] = {
    AttentionPooling: lambda dropout: AttentionPooling(SIZE, "uniform", "sqrt", dropout),
    CLSPooling: lambda dropout: CLSPooling(SIZE, dropout),
    FirstM: lambda dropout: FirstM(SIZE, 3, dropout),
    LastTokenPooling: lambda dropout: LastTokenPooling(SIZE, dropout),
    LearntCodes: lambda dropout: LearntCodes(SIZE, 3, attention="multihead", keys="positions", dropout=dropout),
    MaxPooling: lambda dropout: MaxPooling(SIZE, dropout),
    MeanPooling: lambda dropout: MeanPooling(SIZE, dropout),
}

META = columns([{"encoder": "image" if row % 3 else "text"} for row in range(ROWS)])

each_head = pytest.mark.parametrize("cls", FACTORIES, ids=lambda cls: cls.__name__)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def made(cls: type[EncoderHead], dropout: float = 0.0) -> EncoderHead:
    torch.manual_seed(0)
    return FACTORIES[cls](dropout)


def vectors(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def meta_for(cls: type[EncoderHead]) -> Meta | None:
    return META if cls in NEED_META else None


def test_no_head_is_forgotten() -> None:
    public = {getattr(heads, name) for name in heads.__all__}
    made_here = {*FACTORIES, *POOLINGS, EncoderHead, Pooling}
    assert public == made_here, "give each head of simlearn.heads.__all__ a factory in this file"


@each_head
@each_shape
def test_output_has_the_output_size(cls: type[EncoderHead], shape: tuple[int, ...]) -> None:
    head = made(cls)
    output = head(vectors(shape), meta_for(cls))
    assert output.shape == (*shape[:-1], head.output_size)
    assert output.dtype == torch.float32 and output.isfinite().all()


@each_head
def test_many_vectors_are_treated_one_by_one(cls: type[EncoderHead]) -> None:
    head, x = made(cls).eval(), vectors((ROWS, 3, SIZE))
    output = head(x, meta_for(cls))
    for position in range(3):
        torch.testing.assert_close(output[:, position], head(x[:, position], meta_for(cls)))


@each_head
def test_no_rows(cls: type[EncoderHead]) -> None:
    head = made(cls)
    assert head(torch.zeros(0, SIZE), columns([])).shape == (0, head.output_size)


@each_head
def test_meta_is_optional_or_asked_for(cls: type[EncoderHead]) -> None:
    head, x = made(cls).eval(), vectors((ROWS, SIZE))
    if cls in NEED_META:
        with pytest.raises(ValueError, match="meta"):
            head(x)
    else:
        assert torch.equal(head(x), head(x, META))


@each_head
@each_shape
def test_gradients_reach_input_and_parameters(cls: type[EncoderHead], shape: tuple[int, ...]) -> None:
    head, x = made(cls), vectors(shape).requires_grad_()
    output = head(x, meta_for(cls))
    (output * torch.randn(output.shape)).sum().backward()
    assert x.grad is not None and x.grad.any()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-6, name


@each_head
def test_input_is_left_as_it_is(cls: type[EncoderHead]) -> None:
    x = vectors((ROWS, SIZE))
    made(cls, dropout=0.5)(x, meta_for(cls))
    assert torch.equal(x, vectors((ROWS, SIZE)))


@each_head
@each_shape
def test_saved_and_loaded_is_the_same_to_the_bit(
    cls: type[EncoderHead], shape: tuple[int, ...], tmp_path: Path
) -> None:
    head, x = made(cls, dropout=0.25), vectors(shape)
    head(x, meta_for(cls))  # batch statistics
    with torch.no_grad():
        for parameter in head.parameters():  # away from the initial values, which a fresh head has by itself
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    save_component(head, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, EncoderHead)
    assert type(loaded) is cls
    assert loaded.output_size == head.output_size and loaded.input_embedding_size == SIZE
    assert loaded.get_config_dict() == head.get_config_dict()
    assert torch.equal(loaded.eval()(x, meta_for(cls)), head.eval()(x, meta_for(cls)))
    assert repr(loaded) == repr(head)


@each_head
def test_load_is_the_inverse_of_save(cls: type[EncoderHead], tmp_path: Path) -> None:
    head, x = made(cls).eval(), vectors((ROWS, SIZE))
    head.save(str(tmp_path / "new folder"))
    assert torch.equal(cls.load(str(tmp_path / "new folder")).eval()(x, meta_for(cls)), head(x, meta_for(cls)))


@each_head
def test_missing_weights_raise(cls: type[EncoderHead], tmp_path: Path) -> None:
    save_component(made(cls), tmp_path)
    for file in tmp_path.rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(LoadError, match="missing"):
        load_component(tmp_path, EncoderHead)


@each_head
def test_dropout_is_for_training_only(cls: type[EncoderHead]) -> None:
    head, x = made(cls, dropout=0.5), vectors((ROWS, SIZE))
    assert torch.equal(head.eval()(x, meta_for(cls)), made(cls).eval()(x, meta_for(cls)))
    head.train()
    assert not torch.equal(head(x, meta_for(cls)), head(x, meta_for(cls)))


@each_head
@each_shape
def test_half_precision_is_finite(cls: type[EncoderHead], shape: tuple[int, ...]) -> None:
    head, x = made(cls), vectors(shape).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(x, meta_for(cls))
    output.float().sum().backward()
    assert output.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
    in_bfloat16 = made(cls).bfloat16()(vectors(shape).bfloat16(), meta_for(cls))
    assert in_bfloat16.dtype == torch.bfloat16 and in_bfloat16.isfinite().all()


@each_head
def test_config_is_json(cls: type[EncoderHead]) -> None:
    config = made(cls, dropout=0.25).get_config_dict()
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    assert config.get("input_embedding_size", SIZE) == SIZE


@each_head
def test_sizes_and_dropout_are_checked(cls: type[EncoderHead]) -> None:
    with pytest.raises(ValueError, match="dropout"):
        made(cls, dropout=1.5)


def pooling(cls: type[Pooling], dropout: float = 0.0) -> Pooling:
    torch.manual_seed(0)
    return POOLINGS[cls](dropout)


each_pooling = pytest.mark.parametrize("cls", POOLINGS, ids=lambda cls: cls.__name__)


@each_pooling
def test_a_pooling_saved_and_loaded_is_the_same(cls: type[Pooling], tmp_path: Path) -> None:
    head, x = pooling(cls, 0.25), ragged(5, 0.0)
    save_component(head, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, EncoderHead)
    assert type(loaded) is cls and loaded.get_config_dict() == head.get_config_dict() and repr(loaded) == repr(head)
    ours, theirs = head.eval().embed(x), loaded.eval().embed(x)
    torch.testing.assert_close(ours.values, theirs.values, rtol=1e-6, atol=1e-7)
    assert ours.size == loaded.output_size == head.output_size
    assert json.loads(json.dumps(head.get_config_dict(), allow_nan=False)) == head.get_config_dict()


@each_pooling
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_pooling_in_halves(cls: type[Pooling], dtype: torch.dtype) -> None:
    x = ragged(5, 0.0)
    whole = pooling(cls).embed(x)
    low = pooling(cls).to(dtype).embed(Embeddings(x.values.to(dtype), x.mask))
    assert low.values.dtype is dtype
    torch.testing.assert_close(low.values.float(), whole.values, rtol=0.05, atol=0.05)
    leaf = x.values.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = pooling(cls).embed(Embeddings(leaf, x.mask)).values
    output.float().square().sum().backward()
    assert output.isfinite().all() and leaf.grad is not None and leaf.grad.isfinite().all()


@each_pooling
def test_objects_without_vectors_are_zeros(cls: type[Pooling]) -> None:
    """And give no NaN to gradients; also where no object of a batch has any."""
    head = pooling(cls)
    for length in (0, 3):
        leaf = torch.full((2, length, SIZE), torch.nan, requires_grad=True)
        embedded = head.embed(Embeddings(leaf, torch.zeros(2, length, dtype=torch.bool)))
        assert not embedded.values.any() and embedded.values.shape[-1] == SIZE
        embedded.values.sum().backward()
        assert leaf.grad is not None and leaf.grad.isfinite().all()
        assert all(own.grad is None or own.grad.isfinite().all() for own in head.parameters())
    none = head.embed(Embeddings(torch.zeros(0, 4, SIZE)))
    assert len(none) == 0 and none.size == SIZE


@each_pooling
def test_a_pooling_takes_many_vectors_of_its_size(cls: type[Pooling]) -> None:
    with pytest.raises(ValueError, match="these objects have one each"):
        pooling(cls).embed(Embeddings(torch.zeros(2, SIZE)))
    with pytest.raises(ValueError, match=f"takes vectors of size {SIZE}, got 3"):
        pooling(cls).embed(Embeddings(torch.zeros(2, 4, 3)))
    with pytest.raises(ValueError, match="dropout"):
        pooling(cls, 1.5)


@each_pooling
def test_dropout_of_a_pooling_is_for_training_only(cls: type[Pooling]) -> None:
    head, x = pooling(cls, 0.5), ragged(5, 0.0)
    assert torch.equal(head.eval().embed(x).values, pooling(cls).eval().embed(x).values)
    head.train()
    assert not torch.equal(head.embed(x).values, head.embed(x).values)


class Mean(EncoderHead):
    """A pooling to one vector, as a user writes it."""

    output_size = SIZE  # type: ignore[assignment]

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        shown = embeddings.full_mask()[..., None]
        return Embeddings(embeddings.values.masked_fill(~shown, 0.0).sum(1) / shown.sum(1))


class Codes(EncoderHead):
    """A pooling to as many vectors as there are codes, each of which attends to an object's own (poly-encoders)."""

    output_size = SIZE  # type: ignore[assignment]

    def __init__(self, codes: int) -> None:
        super().__init__(SIZE)
        self.codes = nn.Parameter(torch.randn(codes, SIZE))

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        blank = embeddings.blank()
        logits = (self.codes @ blank.values.mT).masked_fill(~blank.full_mask()[:, None], -torch.inf)
        return Embeddings(logits.softmax(2) @ blank.values)


# Each head by itself, and poolings by themselves, after layers and behind a switch.
MASKED: dict[str, Callable[[], EncoderHead]] = {
    **{cls.__name__: lambda cls=cls: made(cls) for cls in FACTORIES},  # type: ignore[misc]
    **{cls.__name__: lambda cls=cls: pooling(cls) for cls in POOLINGS},  # type: ignore[misc]
    "basic codes": lambda: LearntCodes(SIZE, 4),
    "codes by position": lambda: LearntCodes(SIZE, 2, "uniform", "sqrt", "positions"),
    "Mean": lambda: Mean(SIZE),
    "Codes": lambda: Codes(3),
    "after layers": lambda: SequentialHead(
        nn.Linear(SIZE, SIZE), nn.BatchNorm1d(SIZE), GatedHead(SIZE), Codes(4), nn.Linear(SIZE, 5), output_size=5
    ),
    "behind a switch": lambda: SwitchHead({"text": Codes(2), "image": EmptyHead(SIZE)}, SIZE),
}
each_masked = pytest.mark.parametrize("make", MASKED.values(), ids=MASKED)


def ragged(length: int, filling: float) -> Embeddings:
    """Objects of one to five vectors, the same ones for every length and filling of their padding."""
    own = torch.arange(ROWS) % 5 + 1
    mask = torch.arange(length) < own[:, None]
    values = torch.full((ROWS, length, SIZE), filling)
    values[:, :5] = torch.where(mask[:, :5, None], vectors((ROWS, 5, SIZE)), filling)
    return Embeddings(values, mask)


def shown(embeddings: Embeddings) -> list[Tensor]:
    """What counts of each object."""
    if not embeddings.is_multi_vector:
        return list(embeddings.values)
    return [own[mask] for own, mask in zip(embeddings.values, embeddings.full_mask(), strict=True)]


@each_masked
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("length", "filling"), [(5, 7.0), (5, float("nan")), (9, 0.0), (9, float("inf"))])
def test_what_the_mask_hides_does_not_matter(
    make: Callable[[], EncoderHead], training: bool, length: int, filling: float
) -> None:
    """With other padding and other values there: the same output, gradients and statistics."""
    found = []
    for given in (ragged(5, 0.0), ragged(length, filling)):
        torch.manual_seed(3)
        head = make().train(training)
        leaf = given.values.requires_grad_()
        output = shown(head.embed(Embeddings(leaf, given.mask), META))
        (torch.cat([own.flatten() for own in output]).square().sum()).backward()
        assert leaf.grad is not None
        of_parameters = [parameter.grad for parameter in head.parameters() if parameter.grad is not None]
        found.append([*output, leaf.grad[:, :5][given.full_mask()[:, :5]], *of_parameters, *head.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@each_masked
def test_the_company_in_a_batch_does_not_matter(make: Callable[[], EncoderHead]) -> None:
    torch.manual_seed(3)
    head, everything = make().eval(), ragged(5, 0.0)
    together = shown(head.embed(everything, META))
    for row in range(ROWS):
        rows, length = torch.tensor([row]), row % 5 + 1
        alone = Embeddings(everything.values[rows, :length])
        torch.testing.assert_close(
            shown(head.embed(alone, index_select(META, rows)))[0], together[row], rtol=1e-5, atol=1e-6
        )


@each_head
@each_shape
def test_without_a_mask_embed_is_forward(cls: type[EncoderHead], shape: tuple[int, ...]) -> None:
    head, x = made(cls).eval(), vectors(shape)
    embedded = head.embed(Embeddings(x), meta_for(cls))
    assert embedded.mask is None and torch.equal(embedded.values, head(x, meta_for(cls)))
