"""The base of poolings: heads that make of an object's many vectors one, or others."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.heads.encoder_head import EncoderHead, values_of
from simlearn.meta import Meta


class Pooling(EncoderHead):
    """Makes of an object's many vectors one, or others.

    A subclass implements `pool`, and `output_size` where it is not that of the input. Vectors that the mask hides are
    zeros when `pool` sees them, whatever they were.

    Args:
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, in [0, 1).
    """

    required: ClassVar[tuple[str, ...]] = ("pool",)

    @property
    def output_size(self) -> int:
        """D."""
        return self.input_embedding_size

    def pool(self, values: Tensor, mask: Tensor) -> Tensor | Embeddings:
        """Of the vectors (N, M, D) of N objects, and which of them count (N, M).

        Returns:
            (N, output_size), (N, K, output_size), or `Embeddings` with a mask of their own. An object without any
            vector gets zeros.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pool")

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        """See `EncoderHead`.

        Raises:
            ValueError: for objects of one vector, and vectors of another size.
        """
        if not embeddings.is_multi_vector:
            raise ValueError(
                f"{type(self).__name__} pools the many vectors of an object, and these objects have one each; take an "
                "encoder of tokens such as TransformerEncoder, or leave the pooling out"
            )
        if embeddings.size != self.input_embedding_size:
            raise ValueError(
                f"{type(self).__name__} takes vectors of size {self.input_embedding_size}, got {embeddings.size}"
            )
        pooled = self.pool(self.dropout(embeddings.blank().values), embeddings.full_mask())
        return pooled if isinstance(pooled, Embeddings) else Embeddings(pooled)

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        """Of vectors (N, M, D) that all count."""
        return values_of(self.embed(Embeddings(input_vectors), meta), self)


def at_places(values: Tensor, places: Tensor, there: Tensor) -> Tensor:
    """The vector at a place of each object: (N, D) of (N, M, D), zeros where nothing is there.

    Args:
        values: (N, M, D).
        places: (N,) int64.
        there: (N,) bool.
    """
    if not values.shape[1]:
        return values.sum(1)  # zeros that stay in the graph
    rows = torch.arange(len(values), device=values.device)
    return values[rows, places] * there[:, None]
