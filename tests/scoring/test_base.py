"""Scores of queries against documents: in one piece, row by row, tile by tile, in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simlearn.components import ClassResolver, check_folder, load_component, save_component
from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, Scorer

HALVES = [torch.bfloat16, torch.float16]

each_distance = pytest.mark.parametrize("distance", list(Distance), ids=lambda distance: distance.value)


class MaxSim(Scorer):
    """A scorer as a user writes it: the sum over a query's vectors of the best among the document's."""

    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, queries: Embeddings, documents: Embeddings) -> Tensor:
        scores = torch.einsum("nqd,mkd->nmqk", queries.values, documents.values)
        hidden = ~documents.full_mask()[None, :, None, :]
        best = scores.masked_fill(hidden, -torch.inf).amax(3) * queries.full_mask()[:, None, :]
        return self.weight * best.sum(2)


def vectors(size: int, seed: int, dtype: torch.dtype = torch.float32) -> Embeddings:
    return Embeddings(torch.randn(size, 5, generator=torch.Generator().manual_seed(seed)).to(dtype))


def many(size: int, seed: int) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, 3, generator=generator) > 0.4
    mask[:, 0] = True
    return Embeddings(torch.randn(size, 3, 4, generator=generator), mask)


@each_distance
def test_scores_and_distances_are_those_of_the_distance(distance: Distance) -> None:
    scorer, measure = DistanceScorer(distance), Distance.get_by_name(distance)
    x, y, z = vectors(3, 0), vectors(4, 1), vectors(3, 2)
    torch.testing.assert_close(scorer(x, y), measure.similarity_matrix(x.values, y.values))
    torch.testing.assert_close(scorer.distances(x, y), measure.distance_matrix(x.values, y.values))
    torch.testing.assert_close(scorer.paired(x, z), scorer(x, z).diagonal())
    torch.testing.assert_close(scorer.paired_distances(x, z), scorer.distances(x, z).diagonal())


@each_distance
def test_a_tile_is_a_slice_of_the_whole(distance: Distance) -> None:
    scorer, x, y = DistanceScorer(distance), vectors(6, 0), vectors(7, 1)
    tile = scorer(x.take(slice(1, 3)), y.take(slice(2, 7)))
    torch.testing.assert_close(tile, scorer(x, y)[1:3, 2:7])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES], ids=str)
@pytest.mark.parametrize("scorer", [CosineScorer(), DotScorer()], ids=["cosine", "dot"])
def test_a_product_of_prepared_embeddings_is_the_score(scorer: DistanceScorer, dtype: torch.dtype) -> None:
    x, y = vectors(3, 0, dtype), vectors(4, 1, dtype)
    assert scorer.is_product
    prepared = scorer.prepare(x).values
    assert prepared.dtype is torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(prepared @ scorer.prepare(y).values.T, scorer(x, y))


@pytest.mark.parametrize("distance", [Distance.EUCLIDEAN, Distance.MANHATTAN], ids=lambda distance: distance.value)
def test_other_scorers_are_no_product(distance: Distance) -> None:
    assert not DistanceScorer(distance).is_product


def test_prepared_zeros_stay_zeros_with_a_finite_gradient() -> None:
    values = torch.zeros(2, 5, requires_grad=True)
    prepared = CosineScorer().prepare(Embeddings(values)).values
    prepared.sum().backward()
    assert not prepared.any() and values.grad is not None and values.grad.abs().max() <= 1


@each_distance
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_autocast_does_not_round_scores(distance: Distance, dtype: torch.dtype) -> None:
    scorer, x, y, z = DistanceScorer(distance), vectors(3, 0, dtype), vectors(4, 1, dtype), vectors(3, 2, dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = scorer(x, y), scorer.distances(x, y), scorer.paired(x, z), scorer.paired_distances(x, z)
        prepared = scorer.prepare(x).values
    plain = scorer(x, y), scorer.distances(x, y), scorer.paired(x, z), scorer.paired_distances(x, z)
    assert prepared.dtype is torch.float32
    for one, other in zip(under, plain, strict=True):
        assert one.dtype is torch.float32 and torch.equal(one, other)


@each_distance
def test_many_vectors_are_refused_by_name(distance: Distance) -> None:
    scorer = DistanceScorer(distance)
    for call in (scorer, scorer.distances, scorer.paired, scorer.paired_distances, lambda x, _: scorer.prepare(x)):
        with pytest.raises(ValueError, match=r"DistanceScorer compares one vector .* up to 3; pool them"):
            call(many(2, 0), many(2, 1))


def test_a_scorer_needs_only_forward() -> None:
    scorer, x, y = MaxSim(), many(3, 0), many(3, 1)
    assert scorer.prepare(x) is x and not scorer.is_product
    torch.testing.assert_close(scorer.paired(x, y), scorer(x, y).diagonal())
    torch.testing.assert_close(scorer.distances(x, y), -scorer(x, y))
    torch.testing.assert_close(scorer.paired_distances(x, y), -scorer(x, y).diagonal())
    (gradient,) = torch.autograd.grad(scorer.paired(x, y).sum(), scorer.weight)
    torch.testing.assert_close(gradient, scorer(x, y).diagonal().sum() / 2)
    with pytest.raises(NotImplementedError, match="Scorer must define forward"):
        Scorer()(x, y)


@pytest.mark.parametrize("scorer", [CosineScorer(), MaxSim()], ids=["cosine", "own"])
def test_no_objects(scorer: Scorer) -> None:
    none = many(0, 0) if isinstance(scorer, MaxSim) else vectors(0, 0)
    assert scorer(none, none).shape == (0, 0)
    assert scorer.paired(none, none).shape == scorer.paired_distances(none, none).shape == (0,)


@pytest.mark.parametrize(
    "scorer", [CosineScorer(), DotScorer(), DistanceScorer("manhattan"), DistanceScorer(Distance.EUCLIDEAN)], ids=repr
)
def test_saved_and_loaded(scorer: DistanceScorer, tmp_path: Path) -> None:
    assert json.loads(json.dumps(scorer.get_config_dict())) == scorer.get_config_dict()
    save_component(scorer, tmp_path)
    check_folder(tmp_path)
    loaded = load_component(tmp_path, Scorer)
    assert type(loaded) is type(scorer)
    assert torch.equal(loaded(vectors(3, 0), vectors(3, 1)), scorer(vectors(3, 0), vectors(3, 1)))


def test_own_scorers_are_saved_with_their_weights(tmp_path: Path) -> None:
    save_component(MaxSim(3.0), tmp_path)
    loaded = load_component(tmp_path, Scorer, ClassResolver(classes=(MaxSim,)))
    assert isinstance(loaded, MaxSim) and loaded.weight.item() == 3.0


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(ValueError, match="jaccard"):
        DistanceScorer("jaccard")
