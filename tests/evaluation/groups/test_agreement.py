"""Metrics of groups."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from simlearn.evaluation import cluster_agreement, k_means, knn_accuracy


def test_the_majority_votes_and_the_nearest_settles_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(0, 3, (50,), generator=generator)
    indices = torch.stack([torch.randperm(50, generator=generator)[:6] for _ in range(50)])
    indices[::5, 4:] = -1
    indices[7] = -1
    expected = []
    for own, row in zip(groups.tolist(), indices.tolist(), strict=True):
        voted = [int(groups[index]) for index in row if index >= 0]
        counts = Counter(voted)
        winner = next((group for group in voted if counts[group] == max(counts.values())), None)
        expected.append(-1.0 if winner is None else float(winner == own))
    assert knn_accuracy(indices, groups).nan_to_num(-1).tolist() == expected


def test_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(60) % 3
    embeddings = torch.eye(3)[groups] * 10 + torch.randn(60, 3, generator=generator)
    clusters = k_means(embeddings, 3)
    assert cluster_agreement(groups, clusters) == pytest.approx((1.0, 1.0))
    assert torch.equal(clusters, k_means(embeddings, 3))
    chance = cluster_agreement(groups, torch.randint(0, 20, (60,), generator=generator))
    assert chance.nmi > 0.1 and chance.ami < chance.nmi / 2
    with pytest.raises(ValueError, match="60 objects cannot form 61 clusters"):
        k_means(embeddings, 61)
