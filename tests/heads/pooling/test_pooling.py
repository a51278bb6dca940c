"""Poolings by hand, and beside plain loops and ParlAI's attention."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.heads import (
    AttentionPooling,
    CLSPooling,
    FirstM,
    LastTokenPooling,
    LearntCodes,
    MaxPooling,
    MeanPooling,
    Pooling,
    TokenProjection,
)

# Two texts of up to three tokens; the second is padded on the left, and has a hole.
VALUES = torch.tensor([[[1.0, -2.0], [3.0, 4.0], [5.0, -6.0]], [[9.0, 9.0], [-1.0, 2.0], [7.0, 8.0]]])
MASK = torch.tensor([[True, True, True], [False, True, True]])
TEXTS = Embeddings(VALUES, MASK)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (CLSPooling(2), [[1.0, -2.0], [-1.0, 2.0]]),
        (LastTokenPooling(2), [[5.0, -6.0], [7.0, 8.0]]),
        (MeanPooling(2), [[3.0, -4 / 3], [3.0, 5.0]]),
        (MaxPooling(2), [[5.0, 4.0], [7.0, 8.0]]),
    ],
    ids=lambda one: type(one).__name__,
)
def test_by_hand(pooling: Pooling, expected: list[list[float]]) -> None:
    torch.testing.assert_close(pooling.embed(TEXTS).values, torch.tensor(expected))


def test_the_first_m_of_a_short_text_are_fewer() -> None:
    first = FirstM(2, 2).embed(TEXTS)
    assert first.values.tolist() == [[[1.0, -2.0], [3.0, 4.0]], [[-1.0, 2.0], [7.0, 8.0]]]
    three = FirstM(2, 3).embed(TEXTS)
    assert three.full_mask().tolist() == [[True, True, True], [True, True, False]]
    assert three.values[1].tolist() == [[-1.0, 2.0], [7.0, 8.0], [0.0, 0.0]]
    assert FirstM(2, 9).embed(TEXTS).values.shape == (2, 3, 2)
    holes = Embeddings(VALUES[:1], torch.tensor([[True, False, True]]))
    assert FirstM(2, 2).embed(holes).values.tolist() == [[[1.0, -2.0], [5.0, -6.0]]]


def test_codes_by_hand() -> None:
    """A code that sees the tokens at 0 and ln 3 gives them a quarter and three."""
    codes = LearntCodes(2, 2)
    with torch.no_grad():
        codes.codes.copy_(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]))
    texts = Embeddings(torch.tensor([[[0.0, 4.0], [1.0, 8.0], [5.0, 5.0]]]), torch.tensor([[True, True, False]]))
    torch.testing.assert_close(codes.embed(texts).values, torch.tensor([[[0.75, 7.0], [0.5, 6.0]]]))


def attended(head: LearntCodes, values: Tensor) -> Tensor:
    """What each code finds among the vectors (T, D) of an object, in loops; of heads as ParlAI's MultiHeadAttention."""
    codes, size = head.codes, head.input_embedding_size
    keys = head.places[: len(values)] if head.keys == "positions" else values
    if head.attention == "multihead":
        codes, keys, values = head.asks(codes), head.key(keys), head.value(values)
    step, rows = size // head.heads, []
    for code in codes:
        parts = []
        for first in range(0, size, step):
            own = slice(first, first + step)
            root = 1.0 if head.attention == "basic" else math.sqrt(step)
            weights = [math.exp(float((code[own] @ key[own]).detach()) / root) for key in keys]
            parts.append(sum(w * value[own] for w, value in zip(weights, values, strict=True)) / sum(weights))
        rows.append(torch.cat(parts))  # type: ignore[arg-type]
    found = torch.stack(rows)
    return head.out(found) if head.attention == "multihead" else found


def ragged(seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(5) < torch.tensor([[5], [1], [3]])
    values = torch.randn(3, 5, 8, generator=generator, dtype=torch.float64)
    return Embeddings(values.masked_fill(~mask[..., None], torch.nan), mask)


KINDS: list[dict[str, Any]] = [
    {"attention": attention, "keys": keys, "init": init}
    for attention in ("basic", "sqrt", "multihead")
    for keys, init in (("tokens", "normal"), ("positions", "uniform"))
]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_codes_are_those_of_plain_loops(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head, texts = LearntCodes(8, 3, **options).double(), ragged()
    embedded = head.embed(texts)
    assert embedded.mask is None and embedded.values.shape == (3, 3, 8)
    for row, (values, mask) in enumerate(zip(texts.values, texts.full_mask(), strict=True)):
        torch.testing.assert_close(embedded.values[row], attended(head, values[mask]))


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_gradients_of_codes(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head, texts = LearntCodes(8, 2, **options).double(), ragged()

    def pooled(values: Tensor, *_: Tensor) -> Tensor:
        return head.embed(Embeddings(values, texts.mask)).values

    assert torch.autograd.gradcheck(pooled, [texts.blank().values.requires_grad_(), *head.parameters()])


@pytest.mark.parametrize("make", [CLSPooling, LastTokenPooling, MeanPooling, MaxPooling, AttentionPooling])
def test_gradients_of_one_vector(make: Any) -> None:
    torch.manual_seed(0)
    head, texts = make(8).double(), ragged()
    given = texts.blank().values.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: head.embed(Embeddings(values, texts.mask)).values, given)


def test_attention_pooling_is_one_code() -> None:
    torch.manual_seed(0)
    one, codes = AttentionPooling(8, attention="sqrt").double(), LearntCodes(8, 1, attention="sqrt").double()
    codes.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.embed(ragged()).values, codes.embed(ragged()).values[:, 0])


def test_how_codes_start() -> None:
    torch.manual_seed(0)
    uniform, normal = LearntCodes(64, 64, "uniform").codes.detach(), LearntCodes(64, 64).codes.detach()
    assert (
        float(uniform.min()) >= 0 and float(uniform.max()) < 1 and float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
    )
    assert float(normal.mean()) == pytest.approx(0, abs=0.05) and float(normal.std()) == pytest.approx(1, abs=0.05)


def test_projected_tokens_are_of_unit_length_and_keep_their_mask() -> None:
    projected = TokenProjection(2, 5).embed(TEXTS)
    assert projected.mask is MASK and not isinstance(TokenProjection(2, 5).linear.bias, nn.Parameter)
    torch.testing.assert_close(projected.values.norm(dim=2)[MASK], torch.ones(5))
    plain = TokenProjection(2, 5, normalize=False)
    torch.testing.assert_close(plain.embed(TEXTS).values[MASK], VALUES[MASK] @ plain.linear.weight.T)


def test_numbers_out_of_range() -> None:
    for make, message in (
        (lambda: FirstM(2, 0), "m must be at least 1, got 0"),
        (lambda: LearntCodes(2, 0), "m and max_positions must be at least 1"),
        (lambda: LearntCodes(2, 1, "zeros"), "init must be one of 'normal', 'uniform', got 'zeros'"),  # type: ignore[arg-type]
        (lambda: LearntCodes(2, 1, attention="tanh"), "attention must be one of 'basic'"),  # type: ignore[arg-type]
        (lambda: LearntCodes(6, 1, attention="multihead"), "=6 must be a multiple of heads=4"),
        (lambda: TokenProjection(2, 0), "output must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(ValueError, match=r"an object has 3 vectors, and there are 2 places; .* max_length"):
        LearntCodes(2, 1, keys="positions", max_positions=2).embed(TEXTS)
