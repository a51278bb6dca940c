"""The head of linear layers with activations between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from simlearn.heads.activations import activation
from simlearn.heads.encoder_head import EncoderHead


class StackedProjectionHead(EncoderHead):
    """Linear layers of the given sizes, with an activation between two of them and none after the last.

    `MLPHead` is the same with normalisation and dropout between the layers.

    Source: the projection head of SimCLR (Chen et al., 2020, arXiv:2002.05709) has two.

    Args:
        input_embedding_size: D.
        output_sizes: the size after each linear layer, at least one; the last is the size of the embedding.
        activation_fn: a name of `simlearn.heads.activations.ACTIVATIONS`.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for no sizes, a size below 1 or an unknown activation.
    """

    def __init__(
        self,
        input_embedding_size: int,
        output_sizes: Sequence[int],
        activation_fn: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if not output_sizes or min(output_sizes) < 1:
            raise ValueError(f"output_sizes must hold at least one size, each at least 1, got {list(output_sizes)}")
        self.output_sizes = list(output_sizes)
        self.activation_fn = activation_fn
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([input_embedding_size, *output_sizes]):
            layers += [nn.Linear(size_in, size_out), activation(activation_fn)]
        self.layers = nn.Sequential(*layers[:-1])

    @property
    def output_size(self) -> int:
        """The last of `output_sizes`."""
        return self.output_sizes[-1]

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (..., D) to (..., output_size)."""
        output: Tensor = self.layers(input_vectors)
        return output
