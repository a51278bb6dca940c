"""Libraries that find the best of a piece of documents, in place of torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

Backend: TypeAlias = Literal["torch", "faiss", "usearch"]

SearchPiece: TypeAlias = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""From (N, D) queries and (C, D) documents, float32 on the CPU, to the k best inner products and their columns."""


def search_with(backend: str) -> SearchPiece:
    """The exact search of a library.

    Raises:
        ValueError: for an unknown one.
        ImportError: for one that is not installed, saying what to install.
    """
    if backend not in _SEARCHES:
        raise ValueError(f"unknown backend {backend!r}; known are 'torch', {', '.join(map(repr, _SEARCHES))}")
    package, module_name, search = _SEARCHES[backend]
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ImportError(
            f"backend={backend!r} needs {package}: pip install {package}; backend='torch' needs nothing"
        ) from error
    return lambda queries, documents, k: search(module, queries, documents, k)


def _faiss(faiss: Any, queries: Tensor, documents: Tensor, k: int) -> tuple[Tensor, Tensor]:
    scores, columns = faiss.knn(queries.numpy(), documents.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT)
    return torch.from_numpy(scores), torch.from_numpy(columns)


def _usearch(index: Any, queries: Tensor, documents: Tensor, k: int) -> tuple[Tensor, Tensor]:
    metric, threads = index.MetricKind.IP, torch.get_num_threads()
    found = index.search(documents.numpy(), queries.numpy(), k, metric, exact=True, threads=threads)
    columns = torch.from_numpy(found.keys.astype("int64")).reshape(len(queries), k)
    return 1.0 - torch.from_numpy(found.distances).reshape(len(queries), k).float(), columns


_SEARCHES: dict[str, tuple[str, str, Callable[[Any, Tensor, Tensor, int], tuple[Tensor, Tensor]]]] = {
    "faiss": ("faiss-cpu", "faiss", _faiss),
    "usearch": ("usearch", "usearch.index", _usearch),
}
