"""The multi-layer perceptron as a head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.embeddings import Embeddings
from simlearn.heads.activations import activation as activation_named
from simlearn.heads.encoder_head import EncoderHead
from simlearn.meta import Meta, index_select


class MLPHead(EncoderHead):
    """Hidden layers of Linear, normalisation, activation and dropout, then a Linear to the output.

    Dropout falls on the input, as in every head, and on the output of each hidden layer, never on the embedding.

    Args:
        input_embedding_size: D.
        hidden: the sizes of the hidden layers; without any, the head is one linear layer.
        output: the size of the embedding, at least 1; None without a last linear layer.
        activation: a name of `simlearn.heads.activations.ACTIVATIONS`.
        normalization: "batch" (Ioffe and Szegedy, 2015, arXiv:1502.03167), "layer" (Ba et al., 2016, arXiv:1607.06450)
            or None. With many vectors an object, "batch" takes its statistics over all those that count.
        dropout: probability of dropping an input or hidden value in training, in [0, 1).
        final_linear: whether a Linear to `output` follows the hidden layers. Without it the embedding is the output of
            the last hidden layer (with "relu" never negative), and no dropout falls on it.

    Raises:
        ValueError: for a size below 1, an unknown activation or normalisation, and an `output` or no hidden layer where
            there is no last linear layer.
    """

    def __init__(
        self,
        input_embedding_size: int,
        hidden: Sequence[int],
        output: int | None = None,
        activation: str = "relu",
        normalization: Literal["batch", "layer"] | None = None,
        dropout: float = 0.0,
        final_linear: bool = True,
    ) -> None:
        super().__init__(input_embedding_size, dropout)
        if final_linear == (output is None) or not (final_linear or hidden):
            raise ValueError(
                "output is the size of the last linear layer: give it, or final_linear=False, which makes the last "
                f"hidden layer the embedding; got hidden={list(hidden)}, output={output}, final_linear={final_linear}"
            )
        sizes = [*hidden, output] if output is not None else [*hidden]
        if min(sizes) < 1:
            raise ValueError(f"hidden and output must be at least 1, got {list(hidden)} and {output}")
        if normalization not in (None, "batch", "layer"):
            raise ValueError(f"unknown normalization {normalization!r}; known are 'batch', 'layer' and None")
        self.hidden = list(hidden)
        self.output = output
        self.activation = activation
        self.normalization = normalization
        self.final_linear = final_linear
        self._size = sizes[-1]
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([input_embedding_size, *hidden]):
            # Batch normalisation subtracts the mean, and with it any bias.
            layers.append(nn.Linear(size_in, size_out, bias=normalization != "batch"))
            if normalization is not None:
                layers.append(_RowBatchNorm(size_out) if normalization == "batch" else nn.LayerNorm(size_out))
            layers.append(activation_named(activation))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        if output is not None:
            layers.append(nn.Linear([input_embedding_size, *hidden][-1], output))
        elif dropout > 0:
            layers.pop()
        self.layers = nn.Sequential(*layers)

    @property
    def output_size(self) -> int:
        """The constructor's `output`, or the size of the last hidden layer."""
        return self._size

    def transform(self, input_vectors: Tensor) -> Tensor:
        """Map (..., D) to (..., output)."""
        result: Tensor = self.layers(input_vectors)
        return result

    def embed(self, embeddings: Embeddings, meta: Meta | None = None) -> Embeddings:
        """As every head; batch statistics are of the vectors that count, however far a batch is padded."""
        if embeddings.mask is None or not self.training or self.normalization != "batch":
            return super().embed(embeddings, meta)
        owners = embeddings.mask.nonzero()[:, 0]
        own = None if meta is None else index_select(meta, owners)
        return embeddings.map_vectors(lambda vectors: self(vectors, own))


class _RowBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the last dimension of (..., D), over all others."""

    def forward(self, input: Tensor) -> Tensor:  # the base's name for it
        rows = input.flatten(0, -2)
        if self.training and len(rows) < 2:
            # One row has no variance, on which torch raises: a last batch of one would end a training run.
            normalised = F.batch_norm(
                rows, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        else:
            normalised = super().forward(rows)
        return normalised.view_as(input)
