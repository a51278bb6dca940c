from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simlearn.evaluation import health
from simlearn.evaluation.health import Health


def space(count: int = 40, size: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + 0.5


def test_pairs_of_rows_are_compared_as_plain_loops_do() -> None:
    values = space().double()
    units = values / values.norm(dim=1, keepdim=True)
    cosines, squared, potentials = [], [], []
    for i in range(40):
        for j in range(40):
            if i != j:
                cosines.append(float(units[i] @ units[j]))
                squared.append(float((values[i] - values[j]).square().sum()))
                potentials.append(math.exp(-2 * float((units[i] - units[j]).square().sum())))
    assert health.mean_cosine(values) == pytest.approx(np.mean(cosines))
    assert health.mean_distance(values) == pytest.approx(math.sqrt(np.mean(squared)))
    assert health.uniformity(values) == pytest.approx(math.log(np.mean(potentials)))


def test_uniformity_goes_on_over_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = health.uniformity(space())
    monkeypatch.setattr(health, "_TILE", 9)
    assert health.uniformity(space()) == pytest.approx(whole)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
@pytest.mark.parametrize("centred", [False, True])
def test_the_effective_rank_is_the_entropy_of_squared_singular_values(shape: tuple[int, int], centred: bool) -> None:
    values = space(*shape).double()
    units = (values / values.norm(dim=1, keepdim=True)).numpy()
    share = np.linalg.svd(units - units.mean(0) * centred, compute_uv=False) ** 2
    share = share[share > 1e-18] / share.sum()
    assert health.effective_rank(values, centred) == pytest.approx(math.exp(-(share * np.log(share)).sum()))


def test_a_collapse_lowers_the_rank_and_raises_the_centred_one() -> None:
    """Why nothing is centred."""
    random = torch.Generator().manual_seed(0)
    groups = torch.eye(4, 32).repeat_interleave(64, dim=0)
    healthy = groups + 0.02 * torch.randn(256, 32, generator=random)
    collapsed = torch.ones(1, 32) + 0.002 * torch.randn(256, 32, generator=random)
    assert health.effective_rank(healthy) > 3.9 and health.effective_rank(collapsed) < 1.01
    assert health.effective_rank(collapsed, centred=True) > 5 * health.effective_rank(healthy, centred=True)
    assert health.mean_cosine(collapsed) > 0.999 and health.mean_cosine(healthy) < 0.3


def test_half_precision_does_not_hide_differences() -> None:
    collapsed = (torch.ones(64, 8) + 1e-2 * space(64, 8)).bfloat16()
    assert health.mean_cosine(collapsed) == pytest.approx(health.mean_cosine(collapsed.double()), abs=1e-12)


def test_alignment() -> None:
    first, second = space(seed=1), space(seed=2)
    units = [one / one.norm(dim=1, keepdim=True) for one in (first, second)]
    expected = (units[0] - units[1]).square().sum(1).mean()
    assert health.alignment(first, second) == pytest.approx(float(expected), abs=1e-6)
    assert health.alignment(first, 3 * first) == pytest.approx(0, abs=1e-12)
    assert health.alignment(first, -first, exponent=1) == pytest.approx(2)
    with pytest.raises(ValueError, match="two tensors of one shape"):
        health.alignment(first, second[:3])


def test_hubness_is_the_skewness_of_how_often_each_is_near() -> None:
    values = space(60, 5)
    units = torch.nn.functional.normalize(values)
    scores = (units @ units.T).fill_diagonal_(-2)
    counts = np.bincount(scores.topk(4).indices.flatten().numpy(), minlength=60).astype(float)
    deviation = counts - counts.mean()
    assert health.hubness(values, k=4) == pytest.approx((deviation**3).mean() / (deviation**2).mean() ** 1.5)
    hub = torch.cat([torch.eye(30), torch.full((1, 30), 1.0)])
    assert health.hubness(hub, k=1) > 4
    assert health.hubness(torch.eye(3), k=10) == 0


def test_norms_and_dimensions() -> None:
    assert health.norm_spread(torch.tensor([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx(math.sqrt(2) / 2)
    assert health.norm_spread(torch.zeros(3, 2)) == 0
    values = space()
    values[:, 2], values[:, 5] = 0, 4
    assert health.dead_dimensions(values) == 2


def test_all_at_once() -> None:
    values = space()
    found = Health.of(values, pairs=(values[:5], values[5:10]))
    assert found.count == 40 and found.size == 7
    assert found.figures()["alignment"] == health.alignment(values[:5], values[5:10])
    assert "count" not in found.figures() and "alignment" not in Health.of(values).figures()
    assert "mean cosine" in str(found)


def test_one_point_and_zero_vectors_give_numbers() -> None:
    for values in (torch.ones(8, 4), torch.zeros(8, 4)):
        assert all(math.isfinite(value) for value in Health.of(values).figures().values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(3), r"\(N, D\)"),
        (torch.ones(2, 3, 4), "many vectors an object"),
        (torch.ones(1, 4), "at least 2"),
        (torch.full((3, 4), torch.nan), "3 of 3 embeddings are NaN"),
    ],
)
def test_bad_embeddings_are_refused(values: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        health.mean_cosine(values)
