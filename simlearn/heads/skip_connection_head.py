"""The head that adds a gated correction to the embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simlearn.heads.encoder_head import EncoderHead


class SkipConnectionHead(EncoderHead):
    """Adds a learnt correction to the embedding, `n_layers` times: x + Linear(x) · sigmoid(g).

    The gates g, one a coordinate, start at -4, where sigmoid is 0.018: training starts from nearly the encoders'
    embeddings and departs from them only where that helps, which makes this the head to try first behind a good frozen
    encoder.

    Source: the gate is that of Highway Networks (Srivastava et al., 2015, arXiv:1505.00387) on the correction alone;
    the start near the identity is that of ReZero (Bachlechner et al., 2020, arXiv:2003.04887).

    Args:
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, in [0, 1).
        skip_dropout: the same for the input of each correction only, not of what it is added to, in [0, 1).
        n_layers: how many corrections follow one another, at least 1.

    Raises:
        ValueError: for a probability or a number out of its range.
    """

    def __init__(
        self, input_embedding_size: int, dropout: float = 0.0, skip_dropout: float = 0.0, n_layers: int = 1
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if not 0.0 <= skip_dropout < 1.0:
            raise ValueError(f"skip_dropout must be in [0, 1), got {skip_dropout}")
        if n_layers < 1:
            raise ValueError(f"n_layers must be at least 1, got {n_layers}; EmptyHead corrects nothing")
        self.skip_dropout_prob = skip_dropout
        self.layers = nn.ModuleList(_GatedCorrection(input_embedding_size, skip_dropout) for _ in range(n_layers))

    @property
    def output_size(self) -> int:
        """D."""
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Correct (..., D)."""
        for layer in self.layers:
            input_vectors = layer(input_vectors)
        return input_vectors


class _GatedCorrection(nn.Module):
    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(size, size)
        self.gates = nn.Parameter(torch.full((size,), -4.0))

    def forward(self, vectors: Tensor) -> Tensor:
        correction: Tensor = self.projection(self.dropout(vectors))
        return vectors + correction * torch.sigmoid(self.gates)
