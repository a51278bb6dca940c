"""The head that weighs the parts of a tower against each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simlearn.heads.encoder_head import EncoderHead


class GatedFusionHead(EncoderHead):
    """Brings parts of different kinds, such as title and category, to one size and adds them up, each with a gate.

    For parts x₁ … x_P and x all of them: Σₚ σ(Gₚ x) ⊙ tanh(Wₚ xₚ). The gates see all parts, so a category can count
    more where a title says little. (Gated multimodal units, Arevalo et al. 2017, arXiv:1702.01992.)

    Args:
        part_sizes: D of each part in its place, as `TrainableModel.part_sizes("document")` tells.
        output: the size of the embedding; None takes that of the largest part.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for no parts, and sizes below 1.
    """

    def __init__(self, part_sizes: Sequence[int], output: int | None = None, dropout: float = 0.0) -> None:
        sizes = list(part_sizes)
        size = max(sizes, default=0) if output is None else output
        if not sizes or min([size, *sizes]) < 1:
            raise ValueError(f"part_sizes and output must be at least 1, got {sizes} and {output}")
        super().__init__(sum(sizes), dropout)
        self.part_sizes = sizes
        self.output = size
        self.projections = nn.ModuleList(nn.Linear(part, size) for part in sizes)
        self.gates = nn.Linear(sum(sizes), size * len(sizes))

    @property
    def output_size(self) -> int:
        """The constructor's `output`."""
        return self.output

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (..., sum of the parts' sizes) to (..., output)."""
        parts = torch.split(input_vectors, self.part_sizes, dim=-1)
        gates = self.gates(input_vectors).sigmoid().unflatten(-1, (len(self.part_sizes), self.output))
        values = torch.stack([project(part) for project, part in zip(self.projections, parts, strict=True)], dim=-2)
        fused: Tensor = (gates * values.tanh()).sum(dim=-2)
        return fused
