"""What embeds objects for whoever looks at data: a model, or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.models import SimilarityModel

Encode: TypeAlias = "SimilarityModel | Any | Callable[[list[Any], str], Embeddings | Tensor | np.ndarray]"
"""A `SimilarityModel`, a `TrainableModel`, anything with `encode_query` and `encode_document` (such as a
SentenceTransformer), or a function of a list of objects and `"query"` or `"document"`."""


def model_in(encode: Encode) -> SimilarityModel | None:
    """The model itself, or the one that a `TrainableModel` trains; None for a function."""
    inner = encode if isinstance(encode, SimilarityModel) else getattr(encode, "model", None)
    return inner if isinstance(inner, SimilarityModel) else None


@torch.no_grad()
def embed_objects(encode: Encode, objects: list[Any], role: str) -> Embeddings:
    """The embeddings of at least one object.

    Raises:
        TypeError: for something that cannot be called.
        ValueError: when there are more or fewer embeddings than objects.
    """
    model = model_in(encode)
    if model is not None:
        return model.embed(objects, role)
    if hasattr(encode, "encode_query") and hasattr(encode, "encode_document"):
        found = encode.encode_query(objects) if role == "query" else encode.encode_document(objects)
    elif callable(encode):
        found = encode(objects, role)
    else:
        raise TypeError(f"encode must be a SimilarityModel or a function of objects and a role, got {encode!r:.80}")
    embeddings = found.detach() if isinstance(found, Embeddings) else Embeddings(torch.as_tensor(found).detach())
    if len(embeddings) != len(objects):
        raise ValueError(f"encode returned {len(embeddings)} embeddings for {len(objects)} objects")
    return embeddings
