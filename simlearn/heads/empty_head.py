"""The head that changes nothing."""

from __future__ import annotations

from torch import Tensor

from simlearn.heads.encoder_head import EncoderHead


class EmptyHead(EncoderHead):
    """Returns the encoders' embeddings as they are, after dropout: for encoders that need no head.

    Args:
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, in [0, 1).
    """

    @property
    def output_size(self) -> int:
        """D."""
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Return (..., D) as it is."""
        return input_vectors
