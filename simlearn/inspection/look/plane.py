"""Embeddings on a plane."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from simlearn.distances import normalize

Method = Literal["pca", "tsne", "umap"]


def project(embeddings: Tensor, method: Method = "pca", seed: int = 0) -> tuple[Tensor, str]:
    """Put embeddings on a plane, each brought to unit length first.

    Args:
        embeddings: (N, D), N at least 3.
        method: `"pca"`, the two directions in which they differ most: distances on the plane are at most those in the
            space, and the same each time. `"tsne"` and `"umap"` (needs umap-learn) keep neighbours
            together instead; sizes of clusters and distances between them mean nothing there.
        seed: of the two latter.

    Returns:
        Points (N, 2) float64 on the CPU, and a sentence on what the plane shows.

    Raises:
        ImportError: when the library for a method is not installed.
        ValueError: for an unknown method, fewer than three embeddings, or NaN.
    """
    if embeddings.ndim != 2 or len(embeddings) < 3:
        raise ValueError(f"a map needs at least 3 embeddings (N, D), got the shape {tuple(embeddings.shape)}")
    if not bool(embeddings.isfinite().all()):
        raise ValueError("embeddings are NaN or infinite; a map of them shows nothing")
    units = normalize(embeddings.detach().cpu().double())
    if method == "pca":
        return _principal(units)
    if method == "tsne":
        from sklearn.manifold import TSNE

        neighbours: Any = TSNE(perplexity=min(30.0, (len(units) - 1) / 3), init="pca", random_state=seed)
        return torch.from_numpy(neighbours.fit_transform(units.numpy())).double(), "t-SNE: neighbours stay together"
    if method == "umap":
        try:
            from umap import UMAP
        except ImportError:
            raise ImportError('method="umap" needs umap-learn: pip install umap-learn, or take "pca"') from None
        manifold: Any = UMAP(n_neighbors=min(15, len(units) - 1), random_state=seed)
        return torch.as_tensor(manifold.fit_transform(units.numpy())).double(), "UMAP: neighbours stay together"
    raise ValueError(f"method must be 'pca', 'tsne' or 'umap', got {method!r}")


def _principal(units: Tensor) -> tuple[Tensor, str]:
    spread = units - units.mean(0)
    values, vectors = torch.linalg.eigh(spread.T @ spread)
    axes = vectors[:, -2:].flip(1)
    if axes.shape[1] < 2:
        axes = torch.nn.functional.pad(axes, (0, 2 - axes.shape[1]))
    # An axis has no direction of its own: its largest part points up, so that runs agree.
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    points = spread @ (axes * torch.where(largest < 0, -1.0, 1.0))
    total = float(values.clamp(min=0).sum())
    share = float(values[-2:].clamp(min=0).sum()) / total if total > 0 else 0.0
    return points, f"the two directions of most variance, which hold {share:.0%} of it"
