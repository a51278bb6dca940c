"""Pairs in the order of their graded scores, by angles in complex space."""

from __future__ import annotations

from torch import Tensor

from simlearn.distances import normalize
from simlearn.embeddings import Embeddings
from simlearn.losses.cosent_loss import PairOrderLoss
from simlearn.scoring import Scorer


class AnglELoss(PairOrderLoss):
    """Ranks pairs as their graded scores do, by the angle of complex vectors (Li & Li 2023, "AnglE").

    `CoSENTLoss` with another similarity: see `angle_similarity`. Its gradient does not vanish where the cosine is near
    ±1. It looks at the embeddings themselves, whatever scorer the model has: one vector of even length each.

    Args:
        scale: 1 / temperature, multiplied with the similarities.

    Raises:
        ValueError: for a scale of 0 or less.
    """

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__(scale)

    def similarities(self, queries: Embeddings, documents: Embeddings, scorer: Scorer) -> Tensor:
        """The angle similarity (N,) of query i and document i.

        Raises:
            ValueError: for vectors of odd length, and objects of many vectors.
        """
        if queries.is_multi_vector or documents.is_multi_vector:
            raise ValueError("AnglELoss compares one vector with one vector; pool those of an object in the encoder")
        return angle_similarity(queries.values, documents.values)


def angle_similarity(x: Tensor, y: Tensor) -> Tensor:
    """`|Σ re + Σ im|` of the quotient x / y of two complex vectors of unit length; higher is more similar.

    The first half of a vector holds the real parts, the second half the imaginary ones.

    Args:
        x: (B, D)
        y: (B, D)

    Returns:
        (B,) in [0, √2], in at least fp32; 0 beside a zero vector.

    Raises:
        ValueError: for an odd D.

    >>> import torch
    >>> angle_similarity(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
    tensor([1.])
    """
    if x.shape[-1] % 2:
        raise ValueError(
            f"AnglELoss reads a vector as real and imaginary parts and needs an even length, got {x.shape[-1]}; change "
            "the size of the embeddings, or take CoSENTLoss"
        )
    (a, b), (c, d) = normalize(x).chunk(2, dim=-1), normalize(y).chunk(2, dim=-1)
    return (a * (c - d) + b * (c + d)).sum(-1).abs()
