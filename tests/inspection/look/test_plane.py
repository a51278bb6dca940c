from __future__ import annotations

import sys

import pytest
import torch

from simlearn.inspection.look import project


def test_the_plane_is_that_of_most_variance() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.nn.functional.normalize(torch.randn(50, 6, generator=random))
    points, told = project(3 * values)
    spread = (values - values.mean(0)).double()
    _, sizes, axes = torch.linalg.svd(spread, full_matrices=False)
    expected = spread @ axes[:2].T
    torch.testing.assert_close(points.abs(), expected.abs(), atol=1e-6, rtol=1e-6)
    share = float(sizes[:2].square().sum() / sizes.square().sum())
    assert f"{share:.0%}" in told
    assert torch.equal(project(values)[0], project(values)[0])


def test_neighbours_stay_together_by_t_sne() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.eye(4, 8).repeat_interleave(10, dim=0) + 0.05 * torch.randn(40, 8, generator=random)
    points, told = project(values, "tsne")
    nearest = torch.cdist(points, points).fill_diagonal_(torch.inf).argmin(1)
    assert bool((nearest // 10 == torch.arange(40) // 10).all()) and "t-SNE" in told


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install"):
        project(torch.randn(5, 3), "umap")


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        project(torch.randn(2, 3))
    with pytest.raises(ValueError, match="NaN"):
        project(torch.full((4, 3), torch.nan))
    with pytest.raises(ValueError, match="method must be"):
        project(torch.randn(4, 3), "lda")  # type: ignore[arg-type]
