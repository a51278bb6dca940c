"""Late interaction: beside plain loops, sentence-transformers, and gradients by finite differences."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from simlearn import CosineScorer, Embeddings, MaxSim
from simlearn.scoring import max_sim


def many(size: int, longest: int, seed: int, width: int = 6, least: int = 1) -> Embeddings:
    """Some vectors an object, NaN where the mask hides."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(longest) < torch.randint(least, longest + 1, (size, 1), generator=generator)
    values = torch.randn(size, longest, width, generator=generator, dtype=torch.float64)
    return Embeddings(values.masked_fill(~mask[..., None], torch.nan), mask)


def plainly(queries: Embeddings, documents: Embeddings, mean: bool = False, unit: bool = False) -> list[list[float]]:
    def lists(embeddings: Embeddings) -> list[list[list[float]]]:
        pairs = zip(embeddings.values, embeddings.full_mask(), strict=True)
        found = [values[mask] for values, mask in pairs]
        return [(one / one.norm(dim=1, keepdim=True) if unit else one).tolist() for one in found]

    def score(query: list[list[float]], document: list[list[float]]) -> float:
        if not document:
            return -math.inf
        best = [max(sum(a * b for a, b in zip(x, y, strict=True)) for y in document) for x in query]
        return sum(best) / (len(best) if mean and best else 1)

    return [[score(query, document) for document in lists(documents)] for query in lists(queries)]


@pytest.mark.parametrize(
    "options", [{}, {"reduction": "mean"}, {"normalize": True}, {"reduction": "mean", "normalize": True}]
)
@pytest.mark.parametrize("block_bytes", [1, 2000, 2**24])
def test_plain_loops(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], block_bytes: int) -> None:
    """Also of queries and documents without any vector, and in blocks of one pair."""
    monkeypatch.setattr(max_sim, "_BLOCK_BYTES", block_bytes)
    queries, documents, scorer = many(7, 4, 0, least=0), many(9, 5, 1, least=0), MaxSim(**options)
    assert not queries.full_mask()[:, 0].all() and not documents.full_mask()[:, 0].all()
    expected = plainly(queries, documents, "reduction" in options, "normalize" in options)
    torch.testing.assert_close(scorer(queries, documents), torch.tensor(expected, dtype=torch.float64))
    own = [expected[row][row] for row in range(7)]
    torch.testing.assert_close(scorer.paired(queries, documents.take(slice(0, 7))), torch.tensor(own).double())
    leaf = Embeddings(queries.values.clone().requires_grad_(), queries.mask)
    torch.testing.assert_close(scorer(leaf, documents).detach(), torch.tensor(expected, dtype=torch.float64))


def test_by_hand() -> None:
    queries = Embeddings(
        torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [9.0, 9.0]]]), torch.tensor([[True, True], [True, False]])
    )
    documents = Embeddings(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[2.0, -1.0], [5.0, 5.0]], [[-1.0, -1.0], [-2.0, 0.0]]]),
        torch.tensor([[True, True], [True, False], [True, True]]),
    )
    assert MaxSim()(queries, documents).tolist() == [[3.0, 0.0, -1.0], [1.0, 1.0, -2.0]]
    assert MaxSim("mean")(queries, documents).tolist() == [[1.5, 0.0, -0.5], [1.0, 1.0, -2.0]]


def leaves(*parts: Embeddings) -> list[Tensor]:
    return [part.blank().values.clone().requires_grad_() for part in parts]


@pytest.mark.parametrize("options", [{}, {"reduction": "mean", "normalize": True}])
@pytest.mark.parametrize("block_bytes", [1, 5000, 2**24])
def test_gradients(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], block_bytes: int) -> None:
    monkeypatch.setattr(max_sim, "_BLOCK_BYTES", block_bytes)
    queries, documents, scorer = many(3, 4, 2), many(4, 5, 3), MaxSim(**options)
    given = leaves(queries, documents)

    def whole(x: Tensor, y: Tensor) -> Tensor:
        return scorer(Embeddings(x, queries.mask), Embeddings(y, documents.mask))

    def own(x: Tensor, y: Tensor) -> Tensor:
        return scorer.paired(Embeddings(x, queries.mask), Embeddings(y[:3], documents.mask[:3]))  # type: ignore[index]

    assert torch.autograd.gradcheck(whole, given) and torch.autograd.gradcheck(own, given)
    # What is not asked for is not computed, and does not change the rest.
    alone = torch.autograd.grad(whole(given[0], given[1].detach()).sum(), given[0])[0]
    torch.testing.assert_close(alone, torch.autograd.grad(whole(*given).sum(), given[0])[0])


def test_objects_without_vectors_give_no_nan_to_gradients() -> None:
    queries, documents, scorer = many(5, 3, 0, least=0), many(6, 3, 4, least=0), MaxSim()
    x, y = (embeddings.values.clone().requires_grad_() for embeddings in (queries, documents))
    some = documents.full_mask().any(1)
    scores = scorer(Embeddings(x, queries.mask), Embeddings(y, documents.mask))
    assert scores[:, ~some].eq(-torch.inf).all() and not scores.isnan().any()
    losses = [
        scores.exp().sum(),
        scorer.paired(Embeddings(x, queries.mask), Embeddings(y[:5], documents.mask[:5])).exp().sum(),
    ]  # type: ignore[index]
    for loss in losses:
        for leaf, embeddings in zip((x, y), (queries, documents), strict=True):
            gradient = torch.autograd.grad(loss, leaf, retain_graph=True)[0]
            assert gradient.isfinite().all() and not gradient[~embeddings.full_mask()].any()


def test_of_equal_matches_the_first_has_the_gradient() -> None:
    """In pairs as in all against all; and pairs keep no products for it."""
    # Whole numbers, whose products are exact wherever in a matrix they stand.
    query, document = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [2.0, 2.0]]]), torch.tensor([[[4.0, 3.0]] * 5])
    found = []
    for score in (MaxSim(), MaxSim().paired):
        leaf = document.clone().requires_grad_()
        found.append(torch.autograd.grad(score(Embeddings(query), Embeddings(leaf)).sum(), leaf)[0])
    torch.testing.assert_close(*found)
    assert found[0][0, 0].any() and not found[0][0, 1:].any()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(saved.numel()) or saved, lambda saved: saved
    ):
        MaxSim().paired(*(Embeddings(torch.randn(8, length, 2, requires_grad=True)) for length in (10, 50)))
    assert max(kept) < 8 * 10 * 50


def test_masks_are_real() -> None:
    """Other padding, more of it, and company in the batch change nothing."""
    queries, documents, scorer = many(4, 3, 0), many(5, 4, 1), MaxSim()
    scores = scorer(queries, documents)

    def padded(embeddings: Embeddings, value: float) -> Embeddings:
        values = torch.nn.functional.pad(embeddings.values.nan_to_num(value), (0, 0, 0, 3), value=value)
        return Embeddings(values, torch.nn.functional.pad(embeddings.full_mask(), (0, 3)))

    for value in (-1e6, 1e6, torch.inf):
        torch.testing.assert_close(scorer(padded(queries, value), padded(documents, value)), scores)
    alone = torch.cat([scorer(queries.take(slice(row, row + 1)), documents) for row in range(4)])
    torch.testing.assert_close(alone, scores)
    nothing = queries.take(slice(0, 0))
    assert scorer(nothing, documents).shape == (0, 5) and scorer(queries, documents.take(slice(0, 0))).shape == (4, 0)
    assert scorer.paired(nothing, documents.take(slice(0, 0))).shape == (0,)


def test_sentence_transformers_says_the_same() -> None:
    from sentence_transformers import util

    queries, documents = many(6, 5, 7), many(8, 9, 8)
    x, y = (
        [values[mask].float() for values, mask in zip(e.values, e.full_mask(), strict=True)]
        for e in (queries, documents)
    )
    for ours, theirs in ((MaxSim(), util.maxsim), (MaxSim("mean"), util.mean_maxsim)):
        torch.testing.assert_close(ours(queries, documents).float(), theirs(x, y), rtol=1e-5, atol=1e-5)
    pairs = util.maxsim_pairwise(x, y[:6])
    torch.testing.assert_close(
        MaxSim().paired(queries, documents.take(slice(0, 6))).float(), pairs, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_summed_up_in_full(dtype: torch.dtype) -> None:
    queries, documents = (Embeddings(e.values.to(dtype), e.mask) for e in (many(3, 9, 0), many(4, 9, 1)))
    x = Embeddings(queries.values.clone().requires_grad_(), queries.mask)
    with torch.autocast("cpu", dtype=dtype):
        scores = MaxSim()(x, documents)
    assert scores.dtype is torch.float32
    whole = MaxSim()(
        Embeddings(queries.values.float(), queries.mask), Embeddings(documents.values.float(), documents.mask)
    )
    torch.testing.assert_close(scores, whole)
    assert torch.autograd.grad(scores.sum(), x.values)[0].dtype is dtype


def test_refused() -> None:
    with pytest.raises(ValueError, match="'sum' or 'mean', got 'max'"):
        MaxSim("max")  # type: ignore[arg-type]
    one = Embeddings(torch.randn(3, 6))
    with pytest.raises(ValueError, match=r"many vectors with many, .* CosineScorer"):
        MaxSim()(one, one)
    with pytest.raises(ValueError, match="one vector with one"):
        CosineScorer()(many(2, 3, 0), many(2, 3, 0))
    with pytest.raises(ValueError, match="vectors of size 6, documents of size 5"):
        MaxSim()(many(2, 3, 0), many(2, 3, 0, width=5))
    with pytest.raises(ValueError, match="vectors of size 6, documents of size 5"):
        MaxSim().paired(many(2, 3, 0), many(2, 3, 0, width=5))
