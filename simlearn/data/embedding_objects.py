"""What embeds objects for whoever looks at data: a model, or a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.encoders.towers import Role
from simlearn.models import SimilarityModel

Encode: TypeAlias = "SimilarityModel | Callable[[list[Any], Role], Embeddings | Tensor | np.ndarray]"
"""A model, or what embeds a list of objects as `"query"` or `"document"`."""


@torch.no_grad()
def embed_objects(encode: Encode, objects: list[Any], role: Role) -> Embeddings:
    """The embeddings of at least one object.

    Raises:
        TypeError: for something that cannot be called.
        ValueError: when there are more or fewer embeddings than objects.
    """
    if isinstance(encode, SimilarityModel):
        return encode.embed(objects, role)
    if not callable(encode):
        raise TypeError(f"encode must be a SimilarityModel or a function of objects and a role, got {encode!r:.80}")
    found = encode(objects, role)
    embeddings = found.detach() if isinstance(found, Embeddings) else Embeddings(torch.as_tensor(found).detach())
    if len(embeddings) != len(objects):
        raise ValueError(f"encode returned {len(embeddings)} embeddings for {len(objects)} objects")
    return embeddings
