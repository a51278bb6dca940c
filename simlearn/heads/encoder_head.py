"""The base of all heads: from the encoders' embeddings to the embedding that is compared."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from simlearn.components import Component
from simlearn.meta import Meta


class EncoderHead(nn.Module, Component):
    """Turns the concatenated embeddings of the encoders into the model's embedding.

    A subclass implements `transform` and `output_size`.

    Args:
        input_embedding_size: D, the sum of the encoders' embedding sizes.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for a size below 1 or a dropout outside [0, 1).
    """

    required: ClassVar[tuple[str, ...]] = ("output_size", "transform")

    def __init__(self, input_embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        if input_embedding_size < 1:
            raise ValueError(f"input_embedding_size must be at least 1, got {input_embedding_size}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.input_embedding_size = input_embedding_size
        self.dropout_prob = dropout
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()

    @property
    def output_size(self) -> int:
        """The length of the embeddings that come out."""
        raise NotImplementedError(f"{type(self).__name__} must define output_size")

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (N, input_embedding_size) to (N, output_size), after dropout."""
        raise NotImplementedError(f"{type(self).__name__} must define transform")

    def forward(self, input_vectors: Tensor, meta: Meta | None = None) -> Tensor:
        """Apply dropout and `transform`.

        Args:
            input_vectors: (N, input_embedding_size), or (N, M, input_embedding_size) for many vectors an object.
            meta: columns of N entries that the encoders extracted; most heads ignore them.

        Returns:
            (N, output_size), or (N, M, output_size).

        Raises:
            ValueError: when the vectors have another size, which some heads would silently broadcast.
        """
        if input_vectors.shape[-1] != self.input_embedding_size:
            raise ValueError(
                f"{type(self).__name__} takes vectors of size {self.input_embedding_size}, "
                f"got {input_vectors.shape[-1]}"
            )
        return self.transform(self.dropout(input_vectors))
