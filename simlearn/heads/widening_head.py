"""The head that goes through a wider layer and back."""

from __future__ import annotations

from torch import Tensor, nn

from simlearn.heads.activations import activation
from simlearn.heads.encoder_head import EncoderHead


class WideningHead(EncoderHead):
    """Linear to `expansion_factor` times the size, activation, linear back to the size.

    Source: the feed-forward layer of the transformer (Vaswani et al., 2017, arXiv:1706.03762), without its residual.

    Args:
        input_embedding_size: D.
        expansion_factor: the hidden layer has int(D · expansion_factor) values, which must be at least 1.
        activation_fn: a name of `simlearn.heads.activations.ACTIVATIONS`.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for a factor that leaves no hidden value, or an unknown activation.
    """

    def __init__(
        self,
        input_embedding_size: int,
        expansion_factor: float = 4.0,
        activation_fn: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        hidden = int(input_embedding_size * expansion_factor)
        if hidden < 1:
            raise ValueError(
                f"expansion_factor {expansion_factor} leaves no value of {input_embedding_size}; "
                f"it must be at least {1 / input_embedding_size:g}"
            )
        self.expansion_factor = expansion_factor
        self.activation_fn = activation_fn
        self.layers = nn.Sequential(
            nn.Linear(input_embedding_size, hidden),
            activation(activation_fn),
            nn.Linear(hidden, input_embedding_size),
        )

    @property
    def output_size(self) -> int:
        """D."""
        return self.input_embedding_size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        output: Tensor = self.layers(input_vectors)
        return output
