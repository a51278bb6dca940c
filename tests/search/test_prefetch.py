"""Two stages: means find, all vectors order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from simlearn import DotScorer, Embeddings
from simlearn.scoring import Scorer
from simlearn.search import prefetch, top_k
from simlearn.search.prefetch import mean_vectors


class LateInteraction(Scorer):
    """For each query vector the best of the document's; -inf for a document without any."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        products = torch.einsum("nqd,mtd->nmqt", queries.blank().values, documents.values)
        if documents.mask is not None:
            products = products.masked_fill(~documents.mask[None, :, None, :], -torch.inf)
        return products.amax(3).sum(2)


class Stored:
    """Embeddings that are read by their places, and tell which."""

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self.embeddings)

    def chunks(self, size: int = 7) -> Iterator[Embeddings]:
        return (self.embeddings.take(slice(start, start + 7)) for start in range(0, len(self), 7))

    def take(self, objects: Tensor) -> Embeddings:
        self.taken += objects.tolist()
        return self.embeddings.take(objects)


def made(count: int, longest: int, seed: int, seldom_empty: bool = True) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1 if seldom_empty else 0, longest + 1, (count,), generator=generator)
    values = torch.randn(count, longest, 8, generator=generator)
    mask = torch.arange(longest) < lengths[:, None]
    return Embeddings(values.masked_fill(~mask[..., None], torch.nan), mask).blank()


QUERIES, DOCUMENTS = made(5, 4, seed=0), made(60, 6, seed=1)


@pytest.mark.parametrize("stored", [False, True])
def test_all_that_are_found_first_is_the_exact_search(stored: bool) -> None:
    documents = Stored(DOCUMENTS) if stored else DOCUMENTS
    found = prefetch(QUERIES, documents, 10, LateInteraction(), first=60)
    exact = top_k(QUERIES, DOCUMENTS, 10, LateInteraction())
    assert torch.equal(found.indices, exact.indices)
    torch.testing.assert_close(found.scores, exact.scores)


def test_the_means_find_and_the_vectors_order() -> None:
    stored = Stored(DOCUMENTS)
    found = prefetch(QUERIES, stored, 3, LateInteraction(), first=12, by=DotScorer())
    means = mean_vectors(QUERIES).values @ mean_vectors(DOCUMENTS).values.T
    scores = LateInteraction()(QUERIES, DOCUMENTS)
    for row in range(5):
        candidates = means[row].topk(12).indices
        expected = candidates[scores[row, candidates].topk(3).indices]
        assert found.indices[row].tolist() == expected.tolist()
    assert len(stored.taken) == 5 * 12, "no other document is read again"


def test_means_are_of_what_counts() -> None:
    some = made(20, 5, seed=3, seldom_empty=False)
    assert some.mask is not None
    for values, mask, mean in zip(some.values, some.mask, mean_vectors(some).values, strict=True):
        torch.testing.assert_close(mean, values[mask].mean(0) if mask.any() else torch.zeros(8))
    torch.testing.assert_close(mean_vectors(Embeddings(some.values)).values, some.values.mean(1))
    single = Embeddings(torch.randn(3, 8))
    assert mean_vectors(single) is single


def test_fewer_documents_than_are_sought() -> None:
    found = prefetch(QUERIES, DOCUMENTS.take(slice(0, 2)), 4, LateInteraction())
    assert found.indices[:, 2:].eq(-1).all() and found.scores[:, 2:].eq(-torch.inf).all()
    assert set(found.indices[0, :2].tolist()) == {0, 1}
    nothing = prefetch(QUERIES, DOCUMENTS.take(slice(0, 0)), 4, LateInteraction())
    assert nothing.indices.eq(-1).all()


def test_numbers_out_of_range() -> None:
    for k, first in ((0, 5), (4, 3)):
        with pytest.raises(ValueError, match=f"got k={k} and first={first}"):
            prefetch(QUERIES, DOCUMENTS, k, LateInteraction(), first=first)
