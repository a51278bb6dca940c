"""The streaming search against the whole matrix, sorted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.ragged import Ragged
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, Scorer
from simlearn.search import Neighbours, id_ranks, top_k


class MaxSim(Scorer):
    """The best match of each query vector, summed."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = torch.einsum("nad,mbd->nmab", queries.values.float(), documents.values.float())
        products = products.masked_fill(~documents.full_mask()[None, :, None, :], -torch.inf)
        best = products.amax(-1).masked_fill(~queries.full_mask()[:, None, :], 0.0)
        return best.sum(-1)


def vectors(size: int, seed: int, dimension: int = 8) -> Tensor:
    return torch.randn(size, dimension, generator=torch.Generator().manual_seed(seed))


def oracle(scores: Tensor, k: int, forbidden: Tensor, place: list[int]) -> list[list[int]]:
    """For each query the rows of its k best documents, by plain sorting."""
    found = []
    for row, barred in zip(scores.tolist(), forbidden.tolist(), strict=True):
        allowed = [column for column in range(len(row)) if not barred[column]]
        found.append(sorted(allowed, key=lambda column: (-row[column], place[column]))[:k])
    return found


def rows_of(found: Neighbours) -> list[list[int]]:
    return [[index for index in row if index >= 0] for row in found.indices.tolist()]


def whole_numbers(size: int, seed: int) -> Tensor:
    """Vectors of few small whole numbers: their products are exact, and most of them tie."""
    return torch.randint(-1, 2, (size, 3), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("scorer", [CosineScorer(), DotScorer(), DistanceScorer("euclidean")], ids=["cos", "dot", "l2"])
@pytest.mark.parametrize("k", [1, 7, 90])
def test_it_finds_what_sorting_the_whole_matrix_finds(scorer: Scorer, k: int) -> None:
    queries, documents = vectors(17, 0), vectors(90, 1)
    scores = scorer(Embeddings(queries), Embeddings(documents))
    expected = scores.topk(k)
    for tile_bytes in (1, 5000, 100_000, 2**26):
        found = top_k(queries, documents, k, scorer, tile_bytes=tile_bytes)
        torch.testing.assert_close(found.scores, expected.values, atol=1e-6, rtol=1e-6)
        assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("trec", [False, True])
def test_ties_and_masks_in_every_tile_size(seed: int, trec: bool) -> None:
    queries, documents = whole_numbers(11, seed), whole_numbers(150, seed + 50)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 9, (11,), generator=generator), torch.randint(0, 9, (150,), generator=generator)
    barred = [torch.randperm(150, generator=generator)[: 13 * (row % 3)].tolist() for row in range(11)]
    forbidden = ids[0][:, None] == ids[1][None]
    for row, columns in enumerate(barred):
        forbidden[row, columns] = True
        forbidden[row, row] = True
    names = [f"d{number}" for number in torch.randperm(150, generator=generator).tolist()]
    by_name = sorted(names, reverse=True)
    place = [by_name.index(name) for name in names] if trec else list(range(150))
    expected = oracle(queries @ documents.T, 20, forbidden, place)
    options: dict[str, Any] = {"ties": "trec", "document_ranks": id_ranks(names)} if trec else {}
    for tile_bytes in (1, 3000, 40_000, 2**26):
        found = top_k(
            queries,
            documents,
            20,
            DotScorer(),
            exclude_self=True,
            exclude_ids=ids,
            exclude_rows=Ragged.from_lists(barred),
            tile_bytes=tile_bytes,
            **options,
        )
        assert rows_of(found) == expected


@pytest.mark.parametrize("order", ["ascending", "descending", "equal"])
def test_documents_in_an_unkind_order(order: str) -> None:
    documents = torch.ones(2000, 1) if order == "equal" else torch.arange(2000.0)[:, None]
    documents = documents.flip(0) if order == "descending" else documents
    found = top_k(torch.ones(3, 1), documents, 5, DotScorer(), tile_bytes=20_000)
    expected = {"ascending": [1999, 1998, 1997, 1996, 1995]}.get(order, [0, 1, 2, 3, 4])
    assert found.indices.tolist() == [expected] * 3
    ranks = torch.arange(2000).flip(0)
    again = top_k(torch.ones(1, 1), torch.ones(2000, 1), 3, document_ranks=ranks, tile_bytes=20_000)
    assert again.indices.tolist() == [[1999, 1998, 1997]]


def test_equal_documents_tie_wherever_they_are() -> None:
    documents = vectors(50, 0, 384)[torch.randint(0, 50, (3001,), generator=torch.Generator().manual_seed(1))]
    queries = vectors(40, 2, 384)
    expected = top_k(queries, documents, 100)
    for tile_bytes in (2**16, 2**19, 2**22):
        for size in (1, 3, 40):
            found = top_k(queries[:size], documents, 100, tile_bytes=tile_bytes)
            assert torch.equal(found.indices, expected.indices[:size])
    equal = expected.scores.diff(dim=1) == 0
    assert equal.sum() > 1000 and (expected.indices.diff(dim=1)[equal] > 0).all()


def test_k_beyond_the_corpus_pads() -> None:
    found = top_k(vectors(2, 0), vectors(3, 1), 5, exclude_rows=(torch.tensor([0, 1, 4]), torch.tensor([2, 0, 1, 2])))
    assert found.indices.shape == (2, 5)
    assert (found.indices[0, 2:] == -1).all() and (found.scores[0, 2:] == -torch.inf).all()
    assert found.indices[1].tolist() == [-1] * 5 and found.scores[1].tolist() == [-torch.inf] * 5
    assert top_k(vectors(2, 0), torch.empty(0, 8), 3).indices.tolist() == [[-1] * 3] * 2
    assert top_k(torch.empty(0, 8), vectors(3, 0), 3).scores.shape == (0, 3)


def test_documents_in_chunks_arrays_and_memory_maps(tmp_path: Path) -> None:
    queries, documents = vectors(5, 0), vectors(60, 1)
    expected = top_k(queries, documents, 10)
    ids = torch.arange(5), torch.arange(60)
    np.save(tmp_path / "documents.npy", documents.numpy())
    mapped = np.load(tmp_path / "documents.npy", mmap_mode="r")
    for given in (documents.numpy(), mapped, Embeddings(documents), iter(documents.split([7, 0, 33, 20]))):
        assert torch.equal(top_k(queries, given, 10).indices, expected.indices)
    without = top_k(queries, iter(documents.split(17)), 10, exclude_ids=ids)
    assert torch.equal(without.indices, top_k(queries, documents, 10, exclude_self=True).indices)


def test_half_precision_and_autocast_score_in_full() -> None:
    queries, documents = vectors(5, 0).bfloat16(), vectors(60, 1).bfloat16()
    expected = top_k(queries.float(), documents.float(), 10)
    with torch.autocast("cpu", torch.bfloat16):
        found = top_k(queries, documents, 10)
    assert found.scores.dtype is torch.float32
    assert torch.equal(found.scores, expected.scores)
    wide = top_k(queries.double(), documents.double(), 10)
    torch.testing.assert_close(wide.scores, expected.scores, atol=1e-6, rtol=0)


def test_cosines_stay_in_range() -> None:
    same = vectors(200, 0, 384)
    scores = top_k(same, same, 3).scores
    assert scores.max() <= 1.0 and (scores[:, 0] > 1 - 1e-6).all()


def test_many_vectors_an_object() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = Embeddings(torch.randn(6, 3, 4, generator=generator), torch.rand(6, 3, generator=generator) > 0.3)
    mask = torch.rand(40, 5, generator=generator) > 0.3
    mask[:, 0] = True
    documents = Embeddings(torch.randn(40, 5, 4, generator=generator), mask)
    expected = MaxSim()(queries, documents).topk(7)
    for tile_bytes in (1, 10_000, 2**26):
        found = top_k(queries, documents, 7, MaxSim(), tile_bytes=tile_bytes)
        assert torch.equal(found.indices, expected.indices)
        torch.testing.assert_close(found.scores, expected.values)


@pytest.mark.parametrize("backend", ["faiss", "usearch"])
@pytest.mark.parametrize("scorer", [CosineScorer(), DotScorer()], ids=["cosine", "dot"])
def test_backends_find_the_same(backend: Any, scorer: Scorer) -> None:
    pytest.importorskip(backend)
    queries, documents = vectors(20, 0, 32), vectors(500, 1, 32)
    generator = torch.Generator().manual_seed(0)
    masks: dict[str, Any] = {
        "exclude_self": True,
        "exclude_ids": (torch.arange(20) % 4, torch.randint(0, 30, (500,), generator=generator)),
        "exclude_rows": Ragged.from_lists([list(range(row, 60)) for row in range(20)]),
    }
    for options in ({}, masks):
        for k in (1, 10, 600):
            expected = top_k(queries, documents, k, scorer, **options)
            for tile_bytes in (2**13, 2**26):
                found = top_k(queries, documents, k, scorer, backend=backend, tile_bytes=tile_bytes, **options)
                torch.testing.assert_close(found.scores, expected.scores, atol=2e-6, rtol=1e-6)
                assert (found.indices != expected.indices).float().mean() < 0.01  # a last bit may swap neighbours


def test_a_backend_that_is_not_there_or_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match="pip install faiss-cpu"):
        top_k(vectors(2, 0), vectors(3, 1), 1, backend="faiss")
    monkeypatch.setitem(sys.modules, "usearch.index", type(sys)("usearch.index"))
    with pytest.raises(ValueError, match="neither"):
        top_k(vectors(2, 0), vectors(3, 1), 1, DistanceScorer("manhattan"), backend="usearch")
    with pytest.raises(ValueError, match="unknown backend"):
        top_k(vectors(2, 0), vectors(3, 1), 1, backend="annoy")  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_embeddings_that_are_not_finite(bad: float) -> None:
    queries, documents = vectors(4, 0), vectors(100, 1)
    documents[70, 3] = bad
    with pytest.raises(ValueError, match="embedding of document 70 "):
        top_k(queries, documents, 3, tile_bytes=9000)
    with pytest.raises(ValueError, match="embedding of query 70 "):
        top_k(documents, queries, 3)
    large = torch.full((3, 8), 1e38)  # finite, though its sum is not
    assert top_k(large, large, 1, exclude_self=True).indices.shape == (3, 1)


def test_a_scorer_that_gives_nan() -> None:
    class Broken(CosineScorer):
        def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
            return torch.full((len(queries), len(documents)), torch.nan)

    with pytest.raises(ValueError, match="Broken gave a score of NaN"):
        top_k(vectors(2, 0), vectors(3, 1), 1, Broken())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"ties": "trec"}, "document_ranks=id_ranks"),
        ({"ties": "last"}, "ties must be"),
        ({"document_ranks": torch.tensor([0, 0, 1])}, "each once"),
        ({"document_ranks": torch.arange(4)}, "must have the shape"),
        ({"exclude_ids": (torch.arange(4), torch.arange(4))}, "document ids must have"),
        ({"exclude_ids": (torch.arange(2), torch.arange(3))}, "query ids must have"),
        ({"exclude_rows": (torch.tensor([0, 1]), torch.tensor([0]))}, "offsets of shape"),
        ({"exclude_rows": (torch.tensor([0, 1, 1, 1, 1]), torch.tensor([3]))}, "names row 3"),
        ({"exclude_self": True}, "4 queries and 3 documents"),
        ({"documents": torch.zeros(3, 5)}, "vectors of size 8, documents of size 5"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    given = {"queries": vectors(4, 0), "documents": vectors(3, 1), "k": 2, **options}
    with pytest.raises(ValueError, match=message):
        top_k(**given)


def test_chunks_that_do_not_add_up_to_the_ids() -> None:
    for size, message in ((5, "more documents than ids"), (7, "6 documents and 7 document ids")):
        with pytest.raises(ValueError, match=message):
            top_k(vectors(2, 0), iter(vectors(6, 1).split(2)), 1, exclude_ids=(torch.arange(2), torch.arange(size)))


def test_ids_are_ranked_as_bytes() -> None:
    ids = ["b", "a", "B", "é", "z", "10", "9", "😀", "\uffff"]
    expected = sorted(ids, key=lambda one: one.encode())
    assert [expected[rank] for rank in id_ranks(ids).tolist()] == ids
    with pytest.raises(ValueError, match="'a' appears more than once"):
        id_ranks(["a", "b", "a"])
