"""Metrics of grouped objects: does an object's neighbourhood tell its group, do clusters tell the groups?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ClusterAgreement(NamedTuple):
    """How clusters agree with groups.

    Args:
        nmi: mutual information over the mean of both entropies, in [0, 1]; grows with the number of clusters even where
            they are random.
        ami: the same, adjusted for chance: 0 for random clusters, 1 for equal ones, at times slightly negative.
    """

    nmi: float
    ami: float


def knn_accuracy(indices: Tensor, groups: Tensor, neighbour_groups: Tensor | None = None) -> Tensor:
    """Whether the majority of an object's nearest neighbours are of its group.

    Args:
        indices: (N, k) int64 rows of the neighbours, nearest first, the object itself not among them; -1 for none.
        groups: (N,) int64 groups of the objects.
        neighbour_groups: (M,) groups of what `indices` count; None where the objects are their own neighbours.

    Returns:
        (N,) float64: 1 or 0; of groups with equal votes the one of the nearest neighbour counts. NaN for an object
        without a neighbour.

    Raises:
        ValueError: when the shapes do not fit.
    """
    if indices.ndim != 2 or groups.shape != (len(indices),):
        raise ValueError(f"indices (N, k) and groups (N,) needed, got {tuple(indices.shape)} and {tuple(groups.shape)}")
    others = groups if neighbour_groups is None else neighbour_groups
    if not len(others) or not indices.shape[1]:
        return torch.full((len(indices),), torch.nan, dtype=torch.float64, device=indices.device)
    there = indices >= 0
    voted = others[indices.clamp(min=0)]
    # Votes for the group of each neighbour; one column at a time, or it would take N x k x k.
    votes = torch.stack([((voted == voted[:, [j]]) & there).sum(1) for j in range(voted.shape[1])], dim=1)
    # The first of the largest is the nearest; the order of equal votes is settled by the place.
    place = torch.arange(voted.shape[1], device=voted.device)
    winner = (votes.masked_fill(~there, -1) * (len(place) + 1) - place).argmax(1, keepdim=True)
    right = voted.gather(1, winner)[:, 0] == groups
    return torch.where(there.any(1), right.double(), torch.nan)


def cluster_agreement(groups: Tensor, clusters: Tensor) -> ClusterAgreement:
    """Normalised (arithmetic mean) and adjusted mutual information of groups (N,) and clusters (N,).

    Raises:
        ValueError: when the shapes do not fit.
    """
    if groups.ndim != 1 or groups.shape != clusters.shape or not len(groups):
        raise ValueError(
            f"groups and clusters of the same objects (N,) are needed, got {tuple(groups.shape)} and "
            f"{tuple(clusters.shape)}"
        )
    from sklearn import metrics  # takes a second to import, which only clustering needs

    first, second = groups.cpu().numpy(), clusters.cpu().numpy()
    return ClusterAgreement(
        float(metrics.normalized_mutual_info_score(first, second)),
        float(metrics.adjusted_mutual_info_score(first, second)),
    )


def k_means(embeddings: Tensor, n_clusters: int, seed: int = 0) -> Tensor:
    """Clusters (N,) int64 of embeddings (N, D), by scikit-learn's k-means with ten starts, repeatable by its seed.

    Normalise the embeddings where they compare by cosine.

    Raises:
        ValueError: for fewer objects than clusters.
    """
    if not 1 <= n_clusters <= len(embeddings):
        raise ValueError(f"{len(embeddings)} objects cannot form {n_clusters} clusters")
    from sklearn.cluster import KMeans

    found = KMeans(n_clusters, n_init=10, random_state=seed)
    labels = found.fit_predict(embeddings.detach().float().cpu().numpy())
    return torch.from_numpy(labels).long().to(embeddings.device)
