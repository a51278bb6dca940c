"""Several caches as one: in one process, and in two."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from processes import run_on_two
from torch import Tensor
from torch.nn import functional as F

from simlearn import CosineScorer, Embeddings, NegativeCache, NegativeCacheConfig, PolyAttention, Scorer
from simlearn.distributed import rank
from simlearn.negatives.negative_cache.draws import Chances
from simlearn.negatives.negative_cache.together import Drawn, draw_together

DRAWS = 20_000


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def cache_of(
    documents: Tensor, ids: Tensor, size: int = 64, scorer: Scorer | None = None, **options: Any
) -> NegativeCache:
    config = NegativeCacheConfig(size, dtype=documents.dtype, **options)
    cache = NegativeCache(config, documents.shape[1], scorer)
    cache.insert(documents, ids)
    return cache


def drawn_of(
    caches: list[NegativeCache], queries: Tensor, own: Tensor | None = None, sharded: bool = False, seed: int = 1
) -> tuple[Tensor, Drawn]:
    """Documents are encoded as they are kept."""
    return draw_together(
        caches,
        Embeddings(queries),
        [lambda rows, cache=cache: cache.embeddings[rows].clone() for cache in caches],  # type: ignore[misc]
        torch.zeros(2, 0, dtype=torch.long) if own is None else own,
        Chances(seed, 0),
        sharded=sharded,
    )


def ids_drawn(caches: list[NegativeCache], rows: Tensor) -> Tensor:
    """The documents at rows of several caches of 64 rows in one process."""
    columns = torch.cat([F.pad(cache.ids, (0, 64 - cache.size), value=-1) for cache in caches])
    return torch.where(rows < 0, -1, columns[rows.clamp(min=0)])


OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "two samples": {"samples": 2},
    "steeper": {"inv_temp": 1.5},
    "the best ten": {"top_k": 10},
    "the best ten, steeper": {"top_k": 10, "inv_temp": 0.5},
    "the best": {"sampler": "highest"},
    "groups": {"top_k": 32, "groups": True},
}


def check(ids: Tensor, logits: Tensor) -> None:
    """By χ² the distribution of draws for many copies of one query; `logits` (50,) of documents 0 to 49."""
    counts, expected = torch.bincount(ids.flatten(), minlength=50), ids.numel() * logits.softmax(0)
    assert not counts[expected == 0].any()
    seen = expected > 0
    chi_squared = float(((counts[seen] - expected[seen]) ** 2 / expected[seen]).sum())
    freedom = int(seen.sum()) - 1
    assert chi_squared < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("name", ["all", "steeper", "the best ten"])
@pytest.mark.parametrize("parts", [1, 3])
def test_caches_draw_as_one(parts: int, name: str) -> None:
    documents, query = numbers(50, 3, seed=0), numbers(1, 3, seed=1)
    pieces = zip(documents.tensor_split(parts), torch.arange(50).tensor_split(parts), strict=True)
    caches = [cache_of(*piece, **OPTIONS[name]) for piece in pieces]
    own = torch.stack([torch.arange(DRAWS), torch.full((DRAWS,), 7)])
    extra, drawn = drawn_of(caches, query.expand(DRAWS, -1), own)
    logits = (query @ documents.T)[0]
    logits[7] = -torch.inf
    if "top_k" in OPTIONS[name]:
        logits[logits < logits.topk(10).values[-1]] = -torch.inf
    torch.testing.assert_close(extra, logits.logsumexp(0).expand(DRAWS), rtol=1e-6, atol=1e-6)
    check(ids_drawn(caches, drawn.rows), OPTIONS[name].get("inv_temp", 1.0) * logits)


def in_a_shard(documents: Tensor, ids: Tensor, queries: Tensor, own: Tensor, options: dict[str, Any]) -> Any:
    """Of one of two processes: the logits, what was drawn, and the gradient of its own documents."""
    cache = cache_of(documents, ids, **options)
    leaf, asked = documents.clone().requires_grad_(), queries.clone().requires_grad_()
    encode = [lambda rows: leaf[rows]]
    extra, drawn = draw_together([cache], Embeddings(asked), encode, own, Chances(1, 0), sharded=True)
    extra.sum().backward()
    ids_of = torch.full((128,), -1)
    ids_of[64 * rank() : 64 * rank() + len(ids)] = ids
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    top = None if drawn.top is None else drawn.top.logits
    return extra.detach(), drawn.rows, drawn.staleness, gradient, asked.grad, ids_of, top, cache.written[: len(ids)]


@pytest.mark.parametrize("shares", [(20, 30), (50, 0), (1, 49)])
@pytest.mark.parametrize("name", OPTIONS)
def test_shards_draw_as_caches_of_one_process(name: str, shares: tuple[int, int]) -> None:
    """The same documents, values and gradients; a process without documents takes part."""
    documents, queries, ids = numbers(50, 3, seed=0), numbers(9, 3, seed=1), torch.arange(50) + 100
    own = torch.tensor([[0, 0, 3], [100, 130, 149]])
    parts = list(zip(documents.split(shares), ids.split(shares), strict=True))
    caches = [cache_of(*part, **OPTIONS[name]) for part in parts]
    leaves = [part.clone().requires_grad_() for part, _ in parts]
    asked = queries.clone().requires_grad_()
    encode = [lambda rows, leaf=leaf: leaf[rows] for leaf in leaves]  # type: ignore[misc]
    extra, drawn = draw_together(caches, Embeddings(asked), encode, own, Chances(1, 0))
    extra.sum().backward()
    found = run_on_two(in_a_shard, *[(*part, queries, own, OPTIONS[name]) for part in parts])
    for process, (theirs, rows, staleness, gradient, of_queries, ids_of, top, written) in enumerate(found):
        torch.testing.assert_close(theirs, extra.detach(), rtol=1e-9, atol=1e-9)
        assert torch.equal(rows, drawn.rows) and torch.equal(staleness, drawn.staleness)
        assert asked.grad is not None
        torch.testing.assert_close(of_queries, asked.grad)
        leaf = leaves[process].grad
        expected = torch.zeros_like(gradient) if leaf is None else leaf
        # Each process asks for the same, and DDP averages over them.
        torch.testing.assert_close(gradient / 2, expected, rtol=1e-9, atol=1e-9)
        assert (top is None) == (drawn.top is None)
        if top is not None and drawn.top is not None:
            torch.testing.assert_close(top.sort(1).values, drawn.top.logits.sort(1).values)
        mine = rows[ids_of[rows.clamp(min=0)] >= 0] - 64 * process
        assert set((written == 2).nonzero()[:, 0].tolist()) == set(mine.tolist()), "what was drawn is up to date"


def test_golden_values_of_two_shards() -> None:
    """Those of the port: {1, 2} here and {-1, -2} there; queries and documents of two processes."""
    shards, options = (torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [-2.0]])), {}
    queries, documents = torch.tensor([[-1.0], [1.0], [1.0], [1.0]]), torch.tensor([[2.0], [2.0], [2.0], [2.0]])
    given = [
        (part.double(), torch.arange(2) + 10 * number, queries.double(), torch.zeros(2, 0, dtype=torch.long), options)
        for number, part in enumerate(shards)
    ]
    for extra, *_ in run_on_two(in_a_shard, *given):
        values = F.softplus(extra - (queries * documents).sum(1))
        assert values.tolist() == pytest.approx([4.37452, 0.890350, 0.890350, 0.890350], abs=1e-5)


class OnlyTiles(Scorer):
    """Many vectors a query, one a document, and the two sides differ; it has no more than it must."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return torch.einsum("nmd,kd->nmk", queries.values, documents.values.abs()).amax(1)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_scorer_of_many_query_vectors_draws_as_well(options: dict[str, Any]) -> None:
    documents, queries, scorer = numbers(50, 3, seed=0), numbers(4, 5, 3, seed=1).requires_grad_(), OnlyTiles()
    cache = cache_of(documents, torch.arange(50), scorer=scorer, **options)
    leaf = documents.clone().requires_grad_()
    extra, drawn = cache.extra(Embeddings(queries), lambda rows: leaf[rows])
    logits = scorer(Embeddings(queries.detach()), Embeddings(documents))
    assert torch.equal(drawn.stale, logits.gather(1, drawn.rows))
    if "top_k" not in options:
        torch.testing.assert_close(extra.detach(), logits.logsumexp(1))
    extra.sum().backward()
    assert queries.grad is not None and leaf.grad is not None and leaf.grad.any()


@pytest.mark.parametrize(
    "options", [{}, {"attention": "sqrt"}, {"normalize": True}, {"attention": "multihead", "embedding_size": 4}]
)
def test_poly_attention_draws(options: dict[str, Any]) -> None:
    """Of which some prepare longer vectors than there are."""
    torch.manual_seed(0)
    scorer = PolyAttention(**options).double()
    documents, queries = numbers(50, 4, seed=0), numbers(4, 5, 4, seed=1)
    cache = cache_of(documents, torch.arange(50), scorer=scorer, samples=2)
    extra, drawn = cache.extra(Embeddings(queries), lambda rows: documents[rows])
    logits = scorer(Embeddings(queries), Embeddings(documents))
    torch.testing.assert_close(extra, logits.logsumexp(1))
    torch.testing.assert_close(drawn.stale, logits.gather(1, drawn.rows))
    assert not drawn.staleness.any()


def test_the_interpretable_loss() -> None:
    documents, queries = numbers(20, 3, seed=0), numbers(4, 3, seed=1)
    positives = numbers(4, seed=2).requires_grad_()
    _, drawn = cache_of(documents, torch.arange(20)).extra(queries, lambda rows: documents[rows])
    expected = -torch.cat([positives[:, None], queries @ documents.T], 1).log_softmax(1)[:, 0]
    found = drawn.interpretable(positives)
    torch.testing.assert_close(found, expected.detach())
    assert not found.requires_grad


def test_embeddings_may_stay_on_the_cpu() -> None:
    cache = NegativeCache(NegativeCacheConfig(8, device="cpu"), 3, CosineScorer()).to("meta")
    assert cache.embeddings.device.type == "cpu" and cache.ids.device.type == "meta"
    assert NegativeCache(NegativeCacheConfig(8), 3).to("meta").embeddings.device.type == "meta"
