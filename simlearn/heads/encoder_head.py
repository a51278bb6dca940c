"""The base of all heads: from the encoders' embeddings to the embedding that is compared."""

from __future__ import annotations

import warnings
from typing import ClassVar

from torch import Tensor, nn

from simlearn.components import Component
from simlearn.embeddings import Embeddings
from simlearn.meta import Meta


class EncoderHead(nn.Module, Component):
    """Turns the concatenated embeddings of the encoders into the model's embedding.

    A subclass implements `output_size` and one of two methods. `transform` maps vectors, each by itself: where objects
    have many, their number and their mask stay as they are. `embed` maps objects: it sees the mask, and may give each
    one vector or another number of them. A pooling is a head with an `embed`.

    Args:
        input_embedding_size: D, the sum of the encoders' embedding sizes.
        dropout: probability of dropping an input value in training, in [0, 1).

    Raises:
        ValueError: for a size below 1 or a dropout outside [0, 1).
    """

    required: ClassVar[tuple[str, ...]] = ("output_size",)

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
        raise NotImplementedError(
            f"{type(self).__name__} must define transform, or be called by embed(Embeddings(values, mask)) if it pools"
        )

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        """Map the embeddings of N objects; what towers, `SequentialHead` and `SwitchHead` call.

        Default: `forward`, beside which the mask passes by, and which sees zeros where the mask hides. An override may
        return fewer or more vectors an object, with a mask of its own. Nothing that the mask hides may change what
        comes out: neither the length of the other objects of a batch nor the values of the padding.

        Args:
            embeddings: of N objects, with one or many vectors of `input_embedding_size` each.
            meta: columns of N entries that the encoders extracted.

        Returns:
            N embeddings, of vectors of `output_size`.

        Raises:
            ValueError: when `forward` gives objects with a mask another number of vectors, but not one.
        """
        values = self(embeddings.blank().values, meta)
        mask = embeddings.mask
        if mask is None:
            return Embeddings(values)
        if values.ndim == 2:
            warnings.warn(
                f"{type(self).__name__} makes one vector of many without their mask, so it depends on how far a batch "
                "is padded; define embed(embeddings, meta) in place of forward or transform",
                stacklevel=2,
            )
            return Embeddings(values)
        if values.shape[:2] != mask.shape:
            raise ValueError(
                f"{type(self).__name__} made vectors of shape {tuple(values.shape)} from a mask of shape "
                f"{tuple(mask.shape)}, so nobody knows which of them count; define embed(embeddings, meta), which is "
                "given the mask and returns Embeddings with the new one"
            )
        return Embeddings(values, mask)

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


def needs_call(head: EncoderHead, own: type[EncoderHead]) -> bool:
    """Whether a head must be called as a module: its `forward` is not that of `own`, or a hook runs around it."""
    return type(head).forward is not own.forward or bool(head._forward_hooks or head._forward_pre_hooks)


def values_of(embeddings: Embeddings, head: EncoderHead) -> Tensor:
    """The values of embeddings, for a `forward`, which has no other way to return them.

    Raises:
        ValueError: when there is a mask, which would be lost.
    """
    if embeddings.mask is not None:
        raise ValueError(
            f"{type(head).__name__}.forward would lose the mask that came out; call embed(Embeddings(values), meta)"
        )
    return embeddings.values
