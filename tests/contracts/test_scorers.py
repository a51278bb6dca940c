"""What every scorer must keep to, and whoever asks one: queries come first, documents second."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from asymmetric_scorers import SIZE, Attended, Bilinear, LateInteraction, MaxSim, Prepared
from torch import Tensor

from simlearn import scoring
from simlearn.embeddings import Embeddings
from simlearn.evaluation import PairEvaluator, RerankingEvaluator, RetrievalEvaluator
from simlearn.negatives.mining import MiningConfig, mine
from simlearn.ragged import Ragged
from simlearn.samples import SimilarityPairSample, SimilarityRankingSample
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, PolyAttention, Scorer
from simlearn.search import rank_candidates, top_k


def one(size: int, seed: int) -> Embeddings:
    return Embeddings(torch.randn(size, SIZE, generator=torch.Generator().manual_seed(seed)))


def many(size: int, length: int, seed: int) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(1, length + 1, (size, 1), generator=generator)
    return Embeddings(torch.randn(size, length, SIZE, generator=generator), mask)


class Turned(DistanceScorer):
    """A distance that a subclass made asymmetric."""

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return super().forward(Embeddings(queries.values.roll(1, dims=1)), documents)

    def paired(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        return super().paired(Embeddings(queries.values.roll(1, dims=1)), documents)


EVERY: list[Callable[[], Scorer]] = [
    *(MaxSim, LateInteraction, Attended, Bilinear, Prepared, CosineScorer, DotScorer, Turned),
    lambda: scoring.MaxSim("mean", normalize=True),
    lambda: PolyAttention(normalize=True, scale=5.0),
    lambda: PolyAttention("multihead", embedding_size=SIZE, heads=1),
    lambda: DistanceScorer("euclidean"),
    lambda: DistanceScorer("manhattan"),
]
each_scorer = pytest.mark.parametrize("make", EVERY, ids=lambda make: repr(make()))


def sides(scorer: Scorer, queries: int, documents: int) -> tuple[Embeddings, Embeddings]:
    if isinstance(scorer, (MaxSim, scoring.MaxSim)):
        return many(queries, 3, 1), many(documents, 4, 2)
    if isinstance(scorer, PolyAttention):
        return many(queries, 3, 1), one(documents, 2)
    return one(queries, 1), one(documents, 2)


@each_scorer
def test_the_reversed_scorer_is_the_transpose(make: Callable[[], Scorer]) -> None:
    scorer = make()
    turned, (x, y), (_, z) = scorer.reversed(), sides(scorer, 6, 7), sides(scorer, 1, 6)
    prepared = scorer.prepare_queries(x), scorer.prepare_documents(y)
    turned_prepared = turned.prepare_queries(y), turned.prepare_documents(x)
    for ours, theirs in (
        (turned(y, x), scorer(x, y).T),
        (turned.distances(y, x), scorer.distances(x, y).T),
        (turned.tile(*turned_prepared), scorer.tile(*prepared).T),
        (turned.tile_distances(*turned_prepared), scorer.tile_distances(*prepared).T),
        (turned.paired(z, x), scorer.paired(x, z)),
        (turned.paired_distances(z, x), scorer.paired_distances(x, z)),
        (turned.prepare_documents(x).values, scorer.prepare_queries(x).values),
        (turned.candidates(z, x, torch.arange(7)), scorer.paired(x, z)),
    ):
        torch.testing.assert_close(ours, theirs)
    assert turned.cells(y, x) == scorer.cells(x, y)
    if not isinstance(scorer, (scoring.MaxSim, PolyAttention)):
        assert scorer.cells(x, y) == (12 if isinstance(scorer, MaxSim) else 1)
    assert turned.is_product == scorer.is_product
    assert [id(own) for own in turned.parameters()] == [id(own) for own in scorer.parameters()]
    assert turned.reversed() is scorer
    assert (turned is scorer) == (isinstance(scorer, DistanceScorer) and not isinstance(scorer, Turned))


@each_scorer
def test_tiles_and_pairs_are_parts_of_the_whole(make: Callable[[], Scorer]) -> None:
    scorer = make()
    (x, y), (_, z) = sides(scorer, 6, 7), sides(scorer, 1, 6)
    rows, columns, offsets = slice(1, 4), slice(2, 7), torch.tensor([0, 2, 2, 3, 3, 7, 7])
    tile = scorer.tile(scorer.prepare_queries(x).take(rows), scorer.prepare_documents(y).take(columns))
    torch.testing.assert_close(tile, scorer(x, y)[rows, columns])
    torch.testing.assert_close(scorer.paired(x, z), scorer(x, z).diagonal())
    own = scorer(x, y)[torch.tensor([0, 0, 2, 4, 4, 4, 4]), torch.arange(7)]
    torch.testing.assert_close(scorer.candidates(x, y, offsets), own)
    nothing = scorer.candidates(x, y.take(slice(0, 0)), torch.zeros(7, dtype=torch.long))
    assert nothing.shape == (0,) and nothing.dtype is own.dtype


class Counted(MaxSim):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, int]] = []

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        self.shapes.append((len(queries), len(documents)))
        return super().forward(queries, documents)


def test_lists_of_candidates_are_scored_a_query_at_a_time() -> None:
    """They took a call for each candidate: 320."""
    scorer, queries, documents = Counted(), many(32, 3, 1), many(320, 4, 2)
    scores = scorer.candidates(queries, documents, torch.arange(0, 321, 10))
    assert scorer.shapes == [(1, 10)] * 32
    owners = torch.arange(320) // 10
    torch.testing.assert_close(scores, MaxSim()(queries, documents)[owners, torch.arange(320)])
    scorer.shapes.clear()
    torch.testing.assert_close(scorer.paired(queries.take(owners), documents), scores)
    assert len(scorer.shapes) == 9 and max(scorer.shapes) == (36, 36)


@pytest.mark.parametrize("scorer", [MaxSim(), LateInteraction(), Attended(), Bilinear(), Prepared()], ids=repr)
def test_searches_ask_with_queries(scorer: Scorer) -> None:
    x, y = sides(scorer, 9, 30)
    scores = scorer(x, y).detach()
    best = scores.topk(4)
    for tile_bytes in (64 * 2**20, 1):
        found = top_k(x, y, 4, scorer, tile_bytes=tile_bytes)
        torch.testing.assert_close(found.scores, best.values)
        assert torch.equal(found.indices, best.indices)
    lists = Ragged(torch.arange(0, 91, 10), torch.arange(90) % 30)
    ranked = rank_candidates(x, y, lists, 2, scorer)
    own = torch.stack([scores[row, torch.arange(10) + 10 * row % 30] for row in range(9)])
    torch.testing.assert_close(ranked.scores, own.topk(2).values)
    positives = Ragged(torch.arange(10), torch.arange(9))
    mined = mine(x, y, positives, MiningConfig(1, absolute_margin=0.1), scorer)
    for row in range(9):
        allowed = [one for one in range(30) if one != row and scores[row, one] <= scores[row, row] - 0.1]
        hardest = max(allowed, key=lambda one: float(scores[row, one])) if allowed else -1
        assert mined.rows[row, 0] == hardest


@pytest.mark.parametrize("scorer", [MaxSim(), LateInteraction(), Attended(), Bilinear(), Prepared()], ids=repr)
def test_evaluators_ask_with_queries(scorer: Scorer) -> None:
    x, y = sides(scorer, 12, 12)
    scores = scorer(x, y).detach()

    def encode(objects: list[Any], role: str) -> Embeddings:
        return (x if role == "query" else y).take(torch.tensor([int(one) for one in objects]))

    numbers = [str(row) for row in range(12)]
    places = 1 + (scores > scores.diagonal()[:, None]).sum(1)
    mrr = float((1 / places.double()).mean())
    retrieval = RetrievalEvaluator(numbers, numbers, [[row] for row in range(12)], metrics=["mrr"])
    assert retrieval.evaluate(model=encode, scorer=scorer)["mrr"] == pytest.approx(mrr)
    samples = [SimilarityRankingSample(one, numbers, [float(one == other) for other in numbers]) for one in numbers]
    reranking = RerankingEvaluator(samples, metrics=["mrr"])
    assert reranking.evaluate(model=encode, scorer=scorer)["mrr"] == pytest.approx(mrr)
    pairs = [SimilarityPairSample(one, numbers[-1 - row], float(row)) for row, one in enumerate(numbers)]
    report = PairEvaluator(pairs, metrics=["spearman"]).evaluate(model=encode, scorer=scorer)
    ranks = scores.flip(1).diagonal().argsort().argsort().numpy()
    assert report["spearman"] == pytest.approx(np.corrcoef(ranks, np.arange(12))[0, 1])


PEAK = """
import resource, sys, torch
from simlearn import losses
from simlearn.embeddings import Embeddings
from simlearn.relations import Relation
from simlearn.scoring import CosineScorer, Scorer

class MaxSim(Scorer):
    def forward(self, queries, documents):
        return torch.einsum("nqd,mtd->nmqt", queries.values, documents.values).amax(3).sum(2)

def run(size):
    scorer, shape = (CosineScorer(), (size, 8)) if vectors == 1 else (MaxSim(), (size, vectors, 8))
    pairs = [Embeddings(torch.randn(shape, requires_grad=True)) for _ in range(2)]
    result = loss.compute(*pairs, Relation.from_pairs(torch.ones(size)), scorer)
    result.value.backward()

torch.set_num_threads(1)
loss, size, vectors = eval(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
run(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak(folder: Path, loss: str, size: int, vectors: int, **environment: str) -> int:
    """How many bytes a batch of pairs adds to the memory of a process of its own."""
    (folder / "peak.py").write_text(PEAK)
    command = [sys.executable, str(folder / "peak.py"), loss, str(size), str(vectors)]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env=os.environ | paths | environment
    )
    return 1024 * int(answer.stdout)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss has another unit")


@on_linux
@pytest.mark.parametrize("loss", ["losses.InfoNCELoss()", "losses.TripletLoss()", "losses.TripletLoss(mining='all')"])
@pytest.mark.parametrize(("size", "vectors"), [(6000, 1), (256, 32), (768, 32)])
def test_a_tile_keeps_to_its_budget(loss: str, size: int, vectors: int, tmp_path: Path) -> None:
    """At most 1.5 times 64 MiB at the peak, where 768 x 768 x 32 x 32 products would take 2,304."""
    # Freed memory goes back to the system, or the peak would tell how the allocator keeps it.
    assert peak(tmp_path, loss, size, vectors, MALLOC_MMAP_THRESHOLD_="65536") < 1.5 * 64 * 2**20


@on_linux
def test_searching_the_hardest_leaves_no_holes_in_the_memory(tmp_path: Path) -> None:
    """Small results kept behind each tile made 12,000 rows take 700 MB with the allocator as it comes."""
    assert peak(tmp_path, "losses.TripletLoss()", 12_000, 1) < 200 * 2**20
