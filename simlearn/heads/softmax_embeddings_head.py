"""The head whose embedding is a row of distributions."""

from __future__ import annotations

from torch import Tensor, nn

from simlearn.heads.encoder_head import EncoderHead


class SoftmaxEmbeddingsHead(EncoderHead):
    """Projects onto groups and applies softmax within each: every group of the embedding is a distribution.

    Such embeddings are sparse and tell to which learnt cluster an object belongs, once for each group.

    Source: Simplicial Embeddings (Lavoie et al., 2022, arXiv:2204.00616).

    Args:
        output_groups: G, the number of distributions, at least 1.
        output_size_per_group: S, the number of values in each, at least 1.
        input_embedding_size: D.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for a number below 1.
    """

    def __init__(
        self, output_groups: int, output_size_per_group: int, input_embedding_size: int, dropout: float = 0.0
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if output_groups < 1 or output_size_per_group < 1:
            raise ValueError(
                "output_groups and output_size_per_group must be at least 1, "
                f"got {output_groups} and {output_size_per_group}"
            )
        self.output_groups = output_groups
        self.output_size_per_group = output_size_per_group
        self.projection = nn.Linear(input_embedding_size, self.output_size)

    @property
    def output_size(self) -> int:
        """G · S."""
        return self.output_groups * self.output_size_per_group

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (..., D) to (..., G · S), non-negative and with sum 1 in each group of S."""
        logits: Tensor = self.projection(input_vectors)
        groups = logits.view(*logits.shape[:-1], self.output_groups, self.output_size_per_group)
        return groups.softmax(dim=-1).flatten(start_dim=-2)
