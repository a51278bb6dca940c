"""Embeddings whose first values are an embedding too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from simlearn.components import from_description
from simlearn.embeddings import Embeddings
from simlearn.losses.class_loss import ClassLoss, class_losses
from simlearn.losses.loss_result import LossResult
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.relations import Relation, RelationCheck
from simlearn.scoring import Scorer


class MatryoshkaLoss(SimilarityLoss):
    """The weighted sum of a loss over embeddings cut to their first d values, for several d.

    Matryoshka Representation Learning (Kusupati et al. 2022): a service may then store and compare the first d values
    alone. A scorer that normalises does so after the cut. The vectors of a class loss are cut as well.

    Args:
        loss: any loss, or the config of one.
        dims: the lengths d, each at most that of the model's embeddings; name the full length too.
        weights: a number each; None for 1.

    Raises:
        ValueError: for no lengths, lengths below 1, weights that do not fit or are not above 0, or lengths above the
            `embedding_size` of a class loss.
    """

    def __init__(
        self,
        loss: SimilarityLoss | Mapping[str, Any],
        dims: Sequence[int],
        weights: Sequence[float] | None = None,
    ) -> None:
        inner = from_description(loss, SimilarityLoss, "loss")
        super().__init__(inner.distance)
        self.loss = inner
        self.dims = [int(size) for size in dims]
        self.weights = [1.0] * len(self.dims) if weights is None else [float(weight) for weight in weights]
        if not self.dims or min(self.dims) < 1:
            raise ValueError(f"dims must be lengths of at least 1, got {self.dims}")
        if len(self.weights) != len(self.dims) or not all(weight > 0 for weight in self.weights):
            raise ValueError(f"weights must be {len(self.dims)} numbers above 0, one a length, got {self.weights}")
        for part in class_losses(inner):
            if max(self.dims) > part.embedding_size:
                raise ValueError(
                    f"dims go up to {max(self.dims)}, {type(part).__name__} was built for embeddings of "
                    f"{part.embedding_size} values"
                )
        # Of this class they are variables; of an object they follow from its loss.
        self.relations = inner.relations  # type: ignore[misc]
        self.needs_positives = inner.needs_positives  # type: ignore[misc]
        self.needs_negatives = inner.needs_negatives  # type: ignore[misc]
        self.takes_batch_as_negatives = inner.takes_batch_as_negatives  # type: ignore[misc]
        self.takes_memory = inner.takes_memory  # type: ignore[misc]

    @property
    def tile_bytes(self) -> int:
        """The budget of a tile of scores, which is that of the loss."""
        return self.loss.tile_bytes

    @tile_bytes.setter
    def tile_bytes(self, budget: int) -> None:
        self.loss.tile_bytes = budget

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The sum, with the counts of the last length.

        Raises:
            ValueError: for lengths above that of the embeddings.
        """
        shortest = min(queries.size, documents.size)
        if max(self.dims) > shortest:
            raise ValueError(f"dims go up to {max(self.dims)}, the embeddings have {shortest} values")
        total, counts = queries.values[:0].float().sum(), dict[str, Tensor]()
        for size, weight in zip(self.dims, self.weights, strict=True):
            first = _cut(queries, size)
            second = first if documents is queries else _cut(documents, size)
            result = LossResult.of(self._compute_cut(size, first, second, relation, scorer))
            total, counts = total + weight * result.value, result.counts
        return LossResult(total, 1, counts)

    def _compute_cut(self, size: int, *arguments: Any) -> Any:
        """The loss with its class vectors cut too."""
        whole = _Compute(self.loss)
        cut = {
            f"{name}.{key}": value
            for name, part in whole.named_modules()
            if isinstance(part, ClassLoss)
            for key, value in part.truncated(size).items()
        }
        return functional_call(whole, cut, arguments) if cut else self.loss.compute(*arguments)

    def relation_check(self, training: bool = True) -> RelationCheck | None:
        """That of the loss."""
        return self.loss.relation_check(training)

    def kept_arguments(self) -> dict[str, Any]:
        """The loss itself."""
        return {"loss": self.loss}


class _Compute(nn.Module):
    """`compute` as a module, as `functional_call` wants it."""

    def __init__(self, loss: SimilarityLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, *arguments: Any) -> Any:
        return self.loss.compute(*arguments)


def _cut(embeddings: Embeddings, size: int) -> Embeddings:
    return Embeddings(embeddings.values[..., :size], embeddings.mask)
