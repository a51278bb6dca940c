"""Documents that attend to a query's codes, beside plain loops and ParlAI's attention."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn import Embeddings, PolyAttention

SIZE = 8


def codes(size: int, longest: int, seed: int, least: int = 1) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(longest) < torch.randint(least, longest + 1, (size, 1), generator=generator)
    values = torch.randn(size, longest, SIZE, generator=generator, dtype=torch.float64)
    return Embeddings(values.masked_fill(~mask[..., None], torch.nan), mask)


def ones(size: int, seed: int) -> Embeddings:
    return Embeddings(torch.randn(size, SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def attended(query: Tensor, document: Tensor, scorer: PolyAttention) -> Tensor:
    """What the document finds (D,), as the paper writes it; of several heads as ParlAI's MultiHeadAttention does."""
    if scorer.attention == "multihead":
        asked, keys, values = scorer.asks(document), scorer.keys(query), scorer.values(query)
        size, parts = SIZE // scorer.heads, []
        for head in range(scorer.heads):
            own = slice(head * size, (head + 1) * size)
            weights = torch.softmax(keys[:, own] @ asked[own] / math.sqrt(size), 0)
            parts.append(weights @ values[:, own])
        return scorer.out(torch.cat(parts))
    products = query @ document
    if scorer.attention == "sqrt":
        products = products / math.sqrt(SIZE)
    return torch.softmax(products, 0) @ query


def plainly(queries: Embeddings, documents: Embeddings, scorer: PolyAttention) -> Tensor:
    rows = []
    for values, mask in zip(queries.values, queries.full_mask(), strict=True):
        row = []
        for document in documents.values:
            found = attended(values[mask], document, scorer)
            score = F.cosine_similarity(found, document, dim=0) if scorer.normalize else found @ document
            row.append(scorer.scale * score)
        rows.append(torch.stack(row))
    return torch.stack(rows)


KINDS: list[dict[str, Any]] = [
    {},
    {"attention": "sqrt", "scale": 0.06},
    {"normalize": True, "scale": 5.0},
    {"attention": "sqrt", "normalize": True},
    {"attention": "multihead", "embedding_size": SIZE},
    {"attention": "multihead", "embedding_size": SIZE, "heads": 1, "scale": 2.0},
]
each_kind = pytest.mark.parametrize("options", KINDS, ids=str)


def made(options: dict[str, Any]) -> PolyAttention:
    torch.manual_seed(0)
    return PolyAttention(**options).double()


@each_kind
def test_plain_loops(options: dict[str, Any]) -> None:
    scorer, queries, documents = made(options), codes(5, 4, 0), ones(7, 1)
    expected = plainly(queries, documents, scorer)
    torch.testing.assert_close(scorer(queries, documents), expected)
    torch.testing.assert_close(scorer.paired(queries, documents.take(slice(0, 5))), expected.diagonal())
    offsets = torch.tensor([0, 3, 3, 4, 7, 7])
    owners = torch.tensor([0, 0, 0, 2, 3, 3, 3])
    torch.testing.assert_close(scorer.candidates(queries, documents, offsets), expected[owners, torch.arange(7)])


@each_kind
def test_gradients(options: dict[str, Any]) -> None:
    scorer, queries, documents = made(options), codes(3, 4, 2), ones(3, 3)

    def whole(x: Tensor, y: Tensor, *_: Tensor) -> Tensor:
        return scorer(Embeddings(x, queries.mask), Embeddings(y))

    def own(x: Tensor, y: Tensor) -> Tensor:
        return scorer.paired(Embeddings(x, queries.mask), Embeddings(y))

    given = [queries.blank().values.requires_grad_(), documents.values.requires_grad_()]
    assert torch.autograd.gradcheck(whole, [*given, *scorer.parameters()]) and torch.autograd.gradcheck(own, given)


def test_by_hand() -> None:
    """Two codes and three candidates; ln 3 makes the weights quarters."""
    ln3 = math.log(3)
    queries = Embeddings(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [7.0, 7.0]]]), torch.tensor([[True, True], [True, False]])
    )
    documents = Embeddings(torch.tensor([[ln3, 0.0], [0.0, 0.0], [ln3, 2 * ln3]]))
    expected = torch.tensor([[0.75 * ln3, 0.0, 0.25 * ln3 + 0.75 * 2 * ln3], [ln3, 0.0, 3 * ln3]])
    torch.testing.assert_close(PolyAttention()(queries, documents), expected)
    root = Embeddings(documents.values * math.sqrt(2))
    torch.testing.assert_close(PolyAttention("sqrt")(queries, root), math.sqrt(2) * expected)
    # Of the first pair it finds (3/4, 1/4), whose cosine with (1, 0) is 3 / sqrt(10).
    cosines = PolyAttention(normalize=True)(queries, documents)
    assert cosines[0, 0].item() == pytest.approx(3 / math.sqrt(10)) and cosines[0, 1].item() == 0.0
    multihead = PolyAttention("multihead", embedding_size=2, heads=1)
    for layer in (multihead.asks, multihead.keys, multihead.values, multihead.out):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    torch.testing.assert_close(multihead(queries, root), math.sqrt(2) * expected)


@each_kind
def test_masks_are_real(options: dict[str, Any]) -> None:
    scorer, queries, documents = made(options), codes(4, 3, 0, least=0), ones(5, 1)
    empty = ~queries.full_mask().any(1)
    assert empty.any()
    scores = scorer(queries, documents)
    assert not scores[empty].any()
    for value in (-1e6, torch.inf):
        padded = torch.nn.functional.pad(queries.values.nan_to_num(value), (0, 0, 0, 3), value=value)
        other = Embeddings(padded, torch.nn.functional.pad(queries.full_mask(), (0, 3)))
        torch.testing.assert_close(scorer(other, documents), scores)
    alone = torch.cat([scorer(queries.take(slice(row, row + 1)), documents) for row in range(4)])
    torch.testing.assert_close(alone, scores)
    leaf = queries.values.clone().requires_grad_()
    gradient = torch.autograd.grad(scorer(Embeddings(leaf, queries.mask), documents).sum(), leaf)[0]
    assert gradient.isfinite().all() and not gradient[~queries.full_mask()].any()
    assert scorer(queries.take(slice(0, 0)), documents).shape == (0, 5)
    assert scorer(queries, documents.take(slice(0, 0))).shape == (4, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_summed_up_in_full(dtype: torch.dtype) -> None:
    queries, documents = codes(3, 4, 0), ones(4, 1)
    low = Embeddings(queries.values.to(dtype), queries.mask), Embeddings(documents.values.to(dtype))
    with torch.autocast("cpu", dtype=dtype):
        scores = PolyAttention()(*low)
    assert scores.dtype is torch.float32
    torch.testing.assert_close(
        scores, PolyAttention()(Embeddings(low[0].values.float(), low[0].mask), Embeddings(low[1].values.float()))
    )


class TestRefused:
    def test_options(self) -> None:
        for options, message in (
            ({"attention": "tanh"}, "'basic', 'sqrt' or 'multihead', got 'tanh'"),
            ({"scale": 0.0}, "scale must be above 0"),
            ({"attention": "multihead"}, "needs embedding_size=, a multiple of heads=4, got None"),
            ({"attention": "multihead", "embedding_size": 6}, "a multiple of heads=4, got 6"),
            ({"attention": "multihead", "embedding_size": 8, "normalize": True}, "not with several heads"),
        ):
            with pytest.raises(ValueError, match=message):
                PolyAttention(**options)  # type: ignore[arg-type]

    def test_embeddings(self) -> None:
        with pytest.raises(ValueError, match=r"these have one each; .* LearntCodes"):
            PolyAttention()(ones(2, 0), ones(2, 0))
        with pytest.raises(ValueError, match=r"documents of one vector, .* CLSPooling, or take MaxSim"):
            PolyAttention()(codes(2, 3, 0), codes(2, 3, 0))
        other = Embeddings(torch.randn(2, 5, dtype=torch.float64))
        for ask in (PolyAttention(), PolyAttention().paired):
            with pytest.raises(ValueError, match="vectors of size 8, documents of size 5"):
                ask(codes(2, 3, 0), other)
        for options in ({}, {"normalize": True}):
            scorer = PolyAttention(**options)  # type: ignore[arg-type]
            prepared = scorer.prepare_queries(codes(2, 3, 0)), scorer.prepare_documents(other)
            with pytest.raises(ValueError, match="vectors of size 8, documents of size 5"):
                scorer.tile(*prepared)
        with pytest.raises(ValueError, match="and this scorer is for 4"):
            PolyAttention("multihead", embedding_size=4)(codes(2, 3, 0), ones(2, 0))
