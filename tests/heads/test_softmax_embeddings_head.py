"""Embeddings that are rows of distributions."""

from __future__ import annotations

import pytest
import torch

from simlearn.heads import SoftmaxEmbeddingsHead


@pytest.mark.parametrize("shape", [(5, 6), (5, 2, 6), (0, 6)])
def test_groups_are_distributions(shape: tuple[int, ...]) -> None:
    head = SoftmaxEmbeddingsHead(3, 4, 6)
    output = head(torch.randn(shape))
    assert output.shape == (*shape[:-1], 12)
    assert output.min() >= 0 if output.numel() else True
    torch.testing.assert_close(output.unflatten(-1, (3, 4)).sum(-1), torch.ones(*shape[:-1], 3))


def test_softmax_stays_within_a_group() -> None:
    head, x = SoftmaxEmbeddingsHead(2, 3, 4), torch.randn(1, 4)
    before = head(x)
    with torch.no_grad():
        head.projection.bias[0] += 1.0
    after = head(x)
    assert not torch.allclose(before[0, :3], after[0, :3])
    assert torch.equal(before[0, 3:], after[0, 3:])


@pytest.mark.parametrize(("groups", "size"), [(0, 3), (2, 0)])
def test_bad_sizes(groups: int, size: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        SoftmaxEmbeddingsHead(groups, size, 4)
