"""A negative cache in a plain loop."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn import CosineScorer, Embeddings, KeptFeatures, NegativeCache, NegativeCacheConfig
from simlearn.negatives.negative_cache import together
from simlearn.negatives.negative_cache.draws import Draw
from simlearn.negatives.negative_cache.sampling import choose


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def filled(documents: Tensor, size: int | None = None, scorer: Any = None, **options: Any) -> NegativeCache:
    config = NegativeCacheConfig(size or len(documents), dtype=documents.dtype, **options)
    cache = NegativeCache(config, documents.shape[1], scorer)
    cache.insert(documents, torch.arange(len(documents)))
    return cache


def forced(monkeypatch: pytest.MonkeyPatch, rows: list[int]) -> None:
    """Draw these rows."""

    def chosen(*given: Any) -> Any:
        draw, weights = choose(*given)
        return Draw(draw.lse, torch.tensor(rows)[:, None], draw.logits), weights

    monkeypatch.setattr(together, "choose", chosen)


class TestGoldenValues:
    """Those of the port of Google's code."""

    queries, documents = column(-1, 1, 3), column(2, 2, 1)

    def test_the_loss_of_the_whole_cache(self) -> None:
        base = column(1, -1)
        extra, drawn = filled(base).extra(self.queries, lambda rows: base[rows])
        values = F.softplus(extra - (self.queries * self.documents).sum(1))
        assert values.tolist() == pytest.approx([3.169846, 0.349012, 0.694385], abs=1e-6)
        assert drawn.rows.shape == (3, 1) and drawn.top is None

    def test_the_gradient_of_a_draw(self, monkeypatch: pytest.MonkeyPatch) -> None:
        base = column(1, -1)
        cache = filled(base)
        forced(monkeypatch, [0, 1, 0])
        for_queries, for_documents = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2))
        queries = for_queries * self.queries
        extra, _ = cache.extra(queries, lambda rows: for_documents * base[rows])
        positives = (queries * for_documents * self.documents).sum(1)
        assert (positives - torch.logaddexp(positives, extra)).exp().tolist() == pytest.approx(
            [0.0420101, 0.705385, 0.499381], abs=1e-6
        )
        found = torch.autograd.grad(F.softplus(extra - positives).mean(), [for_queries, for_documents])
        assert [float(one) for one in found] == pytest.approx([0.0247144907] * 2, abs=1e-10)

    def test_groups(self) -> None:
        base = column(1, -1, 3, 2)
        cache = filled(base, top_k=2, groups=True)
        queries, documents = column(-1, 1), column(2, 2)
        extra, drawn = cache.extra(queries, lambda rows: base[rows])
        values = F.softplus(extra - (queries * documents).sum(1))
        assert values.tolist() == pytest.approx([3.0949229, 1.4076060], abs=1e-6)
        assert drawn.top is not None and drawn.top.rows.tolist() == [[1, 3], [0, 2]]

    def test_staleness(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cache = filled(column(1, -1))
        forced(monkeypatch, [0, 1, 0])
        fresh = column(2, -3)
        _, drawn = cache.extra(self.queries, lambda rows: fresh[rows])
        assert drawn.staleness[:, 0].tolist() == pytest.approx([0.25, 4 / 9, 0.25])
        assert torch.equal(cache.embeddings, fresh), "what was drawn is up to date"

    def test_shards(self) -> None:
        """Of two processes, {1, 2} and {-1, -2}: the softmax is over both."""
        base = column(1, 2, -1, -2)
        cache = filled(base)
        queries = column(-1, 1, 1, 1)
        extra, _ = cache.extra(queries[:2], lambda rows: base[rows])
        assert extra.tolist() == pytest.approx([2.3618, 2.3618], abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"inv_temp": 0.5}, {"samples": 3}, {"top_k": 8}, {"top_k": 8, "groups": True}])
def test_the_mean_gradient_is_that_of_the_whole_softmax(options: dict[str, Any]) -> None:
    """Of those that are among the best, where only these are drawn from."""
    generator = torch.Generator().manual_seed(0)
    documents, query, positive = (torch.randn(n, 3, generator=generator).double() for n in (32, 1, 1))
    copies = 4000
    cache = filled(documents, **options)
    leaf = documents.clone().requires_grad_()
    extra, _ = cache.extra(query.expand(copies, -1), lambda rows: leaf[rows])
    found = torch.autograd.grad(F.softplus(extra - (query * positive).sum()).mean(), leaf)[0]

    whole = documents.clone().requires_grad_()
    logits = (query @ whole.T)[0]
    if options.get("groups"):
        logits = logits.view(8, 4).amax(1)
    elif "top_k" in options:
        logits = logits.topk(8).values
    expected = F.softplus(logits.logsumexp(0) - (query * positive).sum())
    torch.testing.assert_close(extra[0], logits.logsumexp(0))
    gradient = torch.autograd.grad(expected, whole)[0]
    assert float((found - gradient).norm() / gradient.norm()) < 0.05


def test_the_highest_is_taken_and_the_value_is_of_all() -> None:
    documents = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    queries = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    for options in ({}, {"top_k": 5}):
        extra, drawn = filled(documents, sampler="highest", **options).extra(queries, lambda rows: documents[rows])
        logits = queries @ documents.T
        assert torch.equal(drawn.rows[:, 0], logits.argmax(1))
        torch.testing.assert_close(extra, (logits.topk(5).values if options else logits).logsumexp(1))


def test_own_documents_are_no_negatives() -> None:
    documents = torch.eye(4)
    cache = filled(documents)
    queries = torch.eye(4)[:2]
    extra, drawn = cache.extra(queries, lambda rows: documents[rows], torch.tensor([0, 1]))
    torch.testing.assert_close(extra, torch.full((2,), 3.0).log())
    assert not bool((drawn.rows[:, 0] == torch.arange(2)).any())
    pairs = torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3], [1, 77]])
    extra, drawn = cache.extra(queries, lambda rows: documents[rows], pairs)
    assert extra[0] == -torch.inf and drawn.rows[0, 0] == -1
    torch.testing.assert_close(extra[1], (torch.tensor(1.0).exp() + 3).log())
    extra.clamp(min=-9).sum().backward() if extra.requires_grad else None
    with pytest.raises(ValueError, match="those of 2 queries' positives, got 3"):
        cache.extra(queries, lambda rows: documents[rows], torch.arange(3))


def test_an_empty_cache_adds_nothing() -> None:
    cache = NegativeCache(NegativeCacheConfig(4), 3)
    for options in ({}, {"top_k": 2}, {"sampler": "highest"}):
        cache = NegativeCache(NegativeCacheConfig(4, **options), 3)  # type: ignore[arg-type]
        extra, drawn = cache.extra(torch.randn(2, 3), lambda rows: torch.zeros(len(rows), 3))
        assert extra.tolist() == [-torch.inf] * 2 and drawn.rows.tolist() == [[-1], [-1]] and len(cache) == 0


def rows_after(eviction: Any, *batches: list[int], size: int = 4) -> list[list[int]]:
    cache = NegativeCache(NegativeCacheConfig(size, eviction=eviction), 1)
    trace = []
    for ids in batches:
        cache.insert(torch.tensor(ids, dtype=torch.float32)[:, None], torch.tensor(ids))
        trace.append(cache.ids[: len(cache)].tolist())
        assert torch.equal(cache.embeddings[: len(cache), 0].long(), cache.ids[: len(cache)])
    return trace


class TestEviction:
    def test_first_in_first_out(self) -> None:
        assert rows_after("fifo", [1, 2], [3], [4, 5], [1, 6], [7, 8]) == [
            [1, 2],
            [1, 2, 3],
            [5, 2, 3, 4],
            [5, 1, 6, 4],
            [8, 1, 6, 7],
        ]

    def test_what_was_encoded_longest_ago_goes(self) -> None:
        assert rows_after("lru", [1, 2], [3, 4], [1, 5], [6]) == [[1, 2], [1, 2, 3, 4], [1, 5, 3, 4], [1, 5, 6, 4]]

    def test_what_is_drawn_stays(self) -> None:
        documents = column(5, 1, 1, 1)
        cache = filled(documents)
        cache.extra(column(100), lambda rows: documents[rows])
        cache.insert(column(2), torch.tensor([9]))
        assert cache.ids.tolist() == [0, 9, 2, 3]

    @pytest.mark.parametrize("eviction", ["fifo", "lru"])
    def test_twins_and_batches_that_are_too_large(self, eviction: Any) -> None:
        assert rows_after(eviction, [1, 1, 2, 1]) == [[2, 1]]
        assert rows_after(eviction, [1, 2, 3, 4, 5, 6]) == [[3, 4, 5, 6]]
        cache = NegativeCache(NegativeCacheConfig(2, eviction=eviction), 1)
        rows = cache.insert(torch.arange(4.0)[:, None], torch.tensor([7, 8, 9, 8]))
        assert rows.tolist() == [-1, 1, 0, 1] and cache.embeddings[:, 0].tolist() == [2.0, 3.0]

    def test_against_a_dictionary(self) -> None:
        generator = torch.Generator().manual_seed(0)
        cache = NegativeCache(NegativeCacheConfig(30), 1)
        known: dict[int, tuple[int, int]] = {}  # id: when, row
        for step in range(60):
            ids = torch.randint(50, (8,), generator=generator)
            cache.insert(ids.float()[:, None], ids)
            distinct = list(dict.fromkeys(reversed(ids.tolist())))[::-1]
            new = [one for one in distinct if one not in known]
            for one in distinct:
                if one in known:
                    known[one] = (step, known[one][1])
            for one in new:
                row = len(known)
                if row == 30:
                    oldest = min(known, key=lambda name: known[name])
                    row = known.pop(oldest)[1]
                known[one] = (step, row)
            assert {name: row for name, (_, row) in known.items()} == {
                int(name): row for row, name in enumerate(cache.ids[: len(cache)].tolist())
            }

    def test_ages(self) -> None:
        cache = NegativeCache(NegativeCacheConfig(4), 1)
        for number in range(3):
            cache.insert(column(number).float(), torch.tensor([number]))
        assert cache.ages.tolist() == [2, 1, 0] and cache.oldest(2).tolist() == [0, 1]
        cache.refresh(torch.tensor([0]), column(7).float())
        assert cache.ages.tolist() == [0, 1, 0] and cache.oldest(1).tolist() == [1]


def test_it_goes_on_where_it_was_saved() -> None:
    documents = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    first = filled(documents, size=32)
    queries = torch.randn(4, 3)
    first.extra(queries, lambda rows: documents[rows])
    second = NegativeCache(first.config, 3)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for cache in (first, second):
        torch.manual_seed(len(cache) * id(cache) % 97)
        cache.insert(documents[:3] + 1, torch.tensor([40, 41, 3]))
    one, other = (cache.extra(queries, lambda rows: documents[rows % 20]) for cache in (first, second))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1].rows, other[1].rows)
    with pytest.raises(ValueError, match="kept 32 documents in .*, and this one keeps 16"):
        NegativeCache(NegativeCacheConfig(16), 3).load_state_dict(first.state_dict())


def test_another_dtype_is_refused() -> None:
    half = NegativeCache(NegativeCacheConfig(4, dtype=torch.float16), 3)
    with pytest.raises(ValueError, match="documents in torch.float32, and this one keeps 4 in torch.float16"):
        half.load_state_dict(NegativeCache(NegativeCacheConfig(4), 3).state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(dtype: torch.dtype) -> None:
    documents = torch.randn(50, 8)
    cache = NegativeCache(NegativeCacheConfig(50, dtype=dtype), 8, CosineScorer(), scale=5.0)
    cache.insert(documents, torch.arange(50))
    queries = torch.randn(4, 8)
    extra, _ = cache.extra(queries, lambda rows: documents[rows])
    expected = (5 * F.cosine_similarity(queries[:, None], documents[None], dim=2)).logsumexp(1)
    torch.testing.assert_close(extra, expected, atol=0.02, rtol=0)


def test_a_scorer_that_learns_sees_raw_embeddings() -> None:
    class Weighed(CosineScorer):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

        def prepare(self, embeddings: Embeddings) -> Embeddings:
            return super().prepare(Embeddings(embeddings.values * self.weight))

        def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return (self.prepare(queries).values * self.prepare(documents).values).sum(1)

    documents, scorer = torch.randn(6, 3), Weighed()
    cache = filled(documents, scorer=scorer)
    assert torch.equal(cache.embeddings, documents) and not list(cache.parameters())
    queries = torch.randn(2, 3)
    extra, _ = cache.extra(queries, lambda rows: documents[rows])
    torch.testing.assert_close(
        extra, scorer.tile(scorer.prepare(Embeddings(queries)), scorer.prepare(Embeddings(documents))).logsumexp(1)
    )
    extra.sum().backward()
    assert scorer.weight.grad is not None and scorer.weight.grad.any()


def test_the_program_of_the_port() -> None:
    """Two features a document, an increasing function of the scores, the best 4 rows; nine lines of a loop."""
    torch.manual_seed(0)
    network, asking = nn.Linear(2, 4), nn.Linear(2, 4)
    features, asked = torch.randint(0, 9, (64, 2)), torch.randint(0, 9, (64, 2)).float()
    cache = NegativeCache(NegativeCacheConfig(16, top_k=4), 4, score_transform=lambda scores: 20 * scores)
    kept = KeptFeatures(cache.size, {"a": (1, torch.int32), "b": (1, torch.int32)})

    def again(rows: Tensor) -> Tensor:
        taken = kept.take(rows)
        return F.normalize(network(torch.cat([taken["a"], taken["b"]], 1).float()), dim=1)

    optimizer = torch.optim.SGD([*network.parameters(), *asking.parameters()], lr=0.01)
    losses = []
    for rows in torch.arange(64).split(8):
        queries, documents = (
            F.normalize(asking(asked[rows]), dim=1),
            F.normalize(network(features[rows].float()), dim=1),
        )
        extra, drawn = cache.extra(queries, again, ids=rows)
        loss = F.softplus(extra - 20 * (queries * documents).sum(1)).mean()
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept.put(cache.insert(documents, rows), {"a": features[rows, :1], "b": features[rows, 1:]})
    assert losses[0] == 0 and all(loss > 0 for loss in losses[1:])
    assert drawn.staleness.max() > 0 and drawn.top is not None and drawn.top.rows.shape == (8, 4)
    of_rows = kept.take(torch.arange(16))
    assert torch.equal(torch.cat([of_rows["a"], of_rows["b"]], 1), features[cache.ids].int())


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size": 0}, "size and samples must be at least 1"),
            ({"size": 4, "top_k": 5}, "top_k must be from 1 to size, 4, got 5"),
            ({"size": 10, "top_k": 4, "groups": True}, "cuts size=10 into top_k=4 groups"),
            ({"size": 10, "groups": True}, "cuts size=10 into top_k=None groups"),
            ({"size": 4, "sampler": "best"}, "sampler must be one of 'softmax', 'highest', got 'best'"),
            ({"size": 4, "eviction": "oldest"}, "eviction must be one of 'lru', 'fifo'"),
            ({"size": 4, "inv_temp": 0.0}, "inv_temp must be above 0"),
            ({"size": 4, "inv_temp": 2.0, "sampler": "highest"}, "goes with sampler='softmax'"),
            ({"size": 4, "dtype": torch.int8}, "must be one of floats"),
            ({"size": 4, "start_filled": 2.0}, "start_filled must be from 0 to 1"),
        ],
    )
    def test_settings(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NegativeCacheConfig(**options)

    def test_two_scales(self) -> None:
        with pytest.raises(ValueError, match="give one of the two"):
            NegativeCache(NegativeCacheConfig(4), 2, scale=2.0, score_transform=torch.exp)

    def test_embeddings(self) -> None:
        cache = NegativeCache(NegativeCacheConfig(4), 2)
        with pytest.raises(TypeError, match="remember whole batches with configure_xbm"):
            cache.insert(torch.zeros(2, 3, 2), torch.arange(2))
        with pytest.raises(ValueError, match="2 embeddings for 3 ids"):
            cache.insert(torch.zeros(2, 2), torch.arange(3))
        with pytest.raises(ValueError, match="in row 1 is not finite after 0 insertions"):
            cache.insert(torch.tensor([[0.0, 1.0], [torch.nan, 1.0]]), torch.arange(2))
        cache.insert(torch.ones(2, 2), torch.arange(2))
        with pytest.raises(ValueError, match=r"3 embeddings for \d rows"):
            cache.extra(torch.ones(1, 2), lambda rows: torch.ones(3, 2))

    def test_features(self) -> None:
        with pytest.raises(ValueError, match="length of each feature must be at least 1"):
            KeptFeatures(3, {})
        kept = KeptFeatures(3, {"a": (2, torch.int32)})
        with pytest.raises(ValueError, match=r"features must be \['a'\], got \['b'\]"):
            kept.put(torch.tensor([0]), {"b": torch.zeros(1, 2)})
        with pytest.raises(ValueError, match=r"\(1, at most 2\), got \(1, 3\)"):
            kept.put(torch.tensor([0]), {"a": torch.zeros(1, 3)})
        kept.put(torch.tensor([2, -1]), {"a": torch.tensor([[5], [6]])})
        other = KeptFeatures(3, kept.specs)
        other.load_state_dict(kept.state_dict())
        assert other.take(torch.tensor([2, 0]))["a"].tolist() == [[5, 0], [0, 0]]
