"""The planner of tiles, and that budgets hold: what a tile takes, of one vector an object and of many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simlearn.tiles import cuts, tile_shape

sizes = st.integers(0, 10**7)


@given(sizes, sizes, st.integers(1, 10**5), st.integers(1, 2**28), st.integers(1, 4096), st.sampled_from([1, 64]))
def test_a_tile_keeps_within_its_budget(
    n_rows: int, n_columns: int, pair_bytes: int, budget: int, narrowest: int, multiple: int
) -> None:
    shape = tile_shape(n_rows, n_columns, pair_bytes, budget, narrowest=narrowest, multiple=multiple)
    assert 1 <= shape.rows <= max(1, n_rows) and 1 <= shape.columns <= max(1, n_columns)
    assert shape.rows * shape.columns * pair_bytes <= max(budget, pair_bytes)
    assert shape.columns < multiple or shape.columns % multiple == 0


@given(sizes, st.integers(1, 10**5))
def test_rows_stay_whole_where_the_budget_allows(n_rows: int, n_columns: int) -> None:
    shape = tile_shape(n_rows, n_columns, 4, 4 * n_columns, narrowest=n_columns)
    assert shape == (1, n_columns)


def test_tiles_are_tall_before_they_are_wide() -> None:
    assert tile_shape(2000, 100_000, 4, 8 * 2**20) == (2000, 1048)
    assert tile_shape(10, 100_000, 4, 8 * 2**20) == (10, 100_000)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 60))
def test_cuts_cover_everything_once_and_are_never_none(start: int, length: int, step: int) -> None:
    slices = cuts(start, start + length, step)
    assert [row for cut in slices for row in range(cut.start, cut.stop)] == list(range(start, start + length))
    assert slices and all(cut.stop - cut.start <= step for cut in slices)


PEAKS = """
import ctypes, json, sys, torch
from simlearn import CosineScorer, DotScorer, FastAPLoss, InfoNCELoss, Relation, TripletLoss
from simlearn.embeddings import Embeddings
from simlearn.losses.tiling import mine_hardest
from simlearn.search import top_k
sys.path.insert(0, sys.argv[1])
from asymmetric_scorers import MaxSim

torch.set_num_threads(1)
BUDGET = 64 * 2**20

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024

def peak(run):
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    run()
    return (status("VmHWM") - before) / BUDGET

def loss(kind, n, vectors, scorer, groups=False):
    shape = (n, 8) if vectors == 1 else (n, vectors, 8)
    queries, documents = torch.randn(shape).requires_grad_(), torch.randn(shape).requires_grad_()
    relation = Relation.from_groups(torch.arange(n) % (n // 4)) if groups else Relation.from_pairs(torch.ones(n))
    def run():
        first = Embeddings(queries)
        made = kind.compute(first, first if groups else Embeddings(documents), relation, scorer)
        made.value.backward()
    return run

def search(n, vectors, scorer):
    shape = (n, 8) if vectors == 1 else (n, vectors, 8)
    queries, documents = Embeddings(torch.randn(shape)), Embeddings(torch.randn(shape))
    return lambda: top_k(queries, documents, 10, scorer)

cosine, many = CosineScorer(), MaxSim()
cases = {
    "InfoNCE": loss(InfoNCELoss(symmetric=False), 8192, 1, cosine),
    "symmetric InfoNCE": loss(InfoNCELoss(), 8192, 1, cosine),
    "triplets": loss(TripletLoss(mining="semi_hard"), 4096, 1, cosine, groups=True),
    "hard triplets": loss(TripletLoss(), 8192, 1, cosine, groups=True),
    "FastAP": loss(FastAPLoss(), 4096, 1, cosine, groups=True),
    "InfoNCE, many vectors": loss(InfoNCELoss(symmetric=False), 512, 16, many),
    "symmetric InfoNCE, many vectors": loss(InfoNCELoss(), 512, 16, many),
    "triplets, many vectors": loss(TripletLoss(mining="all"), 512, 16, many, groups=True),
    "search": search(8192, 1, cosine),
    "search, many vectors": search(512, 16, many),
}
small = [loss(InfoNCELoss(), 64, 1, cosine), loss(TripletLoss(), 64, 1, cosine, True), search(64, 1, cosine)]
for warm in small:
    warm()
print(json.dumps({name: peak(run) for name, run in cases.items()}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's to tell")
def test_the_peak_of_a_walk_is_under_one_and_a_half_budgets() -> None:
    """Once search counted vectors and losses did not: a tile of 4,096 MiB under a budget of 64."""
    command = [sys.executable, "-c", PEAKS, str(Path(__file__).parent)]
    # Otherwise glibc keeps what was freed, which nobody can tell from what is held.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144"}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peaks: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    assert len(peaks) == 10
    assert {name: peak for name, peak in peaks.items() if peak >= 1.5} == {}
