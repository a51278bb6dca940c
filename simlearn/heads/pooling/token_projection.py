"""Tokens in fewer dimensions, for late interaction."""

from __future__ import annotations

from torch import Tensor, nn

from simlearn.distances import normalize
from simlearn.heads.encoder_head import EncoderHead


class TokenProjection(EncoderHead):
    """A linear layer without bias on each vector, brought to unit length (ColBERT, Khattab & Zaharia 2020).

    Args:
        input_embedding_size: D.
        output: the size of the vectors that come out.
        normalize: whether they are of unit length.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for an output below 1.
    """

    def __init__(
        self, input_embedding_size: int, output: int = 64, normalize: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if output < 1:
            raise ValueError(f"output must be at least 1, got {output}")
        self.output, self.normalize = output, normalize
        self.linear = nn.Linear(input_embedding_size, output, bias=False)

    @property
    def output_size(self) -> int:
        """As given."""
        return self.output

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Each vector by itself."""
        projected: Tensor = self.linear(input_vectors)
        return normalize(projected).to(projected.dtype) if self.normalize else projected
