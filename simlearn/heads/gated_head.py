"""The head that weighs each coordinate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simlearn.heads.encoder_head import EncoderHead


class GatedHead(EncoderHead):
    """Multiplies each coordinate by a learnt weight in (-1, 1): x · tanh(g).

    The gates g start at 2, where tanh is 0.964, so that training starts from nearly the encoders' embeddings. With D
    parameters it suits small data sets, and its weights tell which coordinates matter.

    Args:
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, in [0, 1).
    """

    def __init__(self, input_embedding_size: int, dropout: float = 0.0) -> None:
        super().__init__(input_embedding_size, dropout)
        self.gates = nn.Parameter(torch.full((input_embedding_size,), 2.0))

    @property
    def output_size(self) -> int:
        """D."""
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Weigh the coordinates of (..., D)."""
        return input_vectors * torch.tanh(self.gates)
