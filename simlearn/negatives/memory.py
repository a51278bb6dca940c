"""What is kept of earlier batches, and takes part in the loss of later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer

EncodeOrigins: TypeAlias = Callable[[Tensor, bool], Embeddings]
"""From where documents came (n, 2), the same in all processes, to their embeddings by the weights of the moment; with
gradients, where that is asked for."""


class Memory(nn.Module):
    """The base of memories. A step asks each for its terms before the batch's own loss, and shows it the batch after.

    What is kept is the module's state, so that a run that resumes goes on as it would have. Batches are those of all
    processes.
    """

    def terms(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        step: int,
    ) -> dict[str, Tensor]:
        """Further losses of a batch, by the names under which they are logged, `train_<name>`.

        Args:
            loss: what embeddings are compared by.
            queries: N embeddings.
            documents: M embeddings.
            relation: of these.
            scorer: how embeddings compare.
            step: how many optimiser steps were taken.

        Returns:
            Scalars in the graph, which are added to the loss of the batch.
        """
        return {}

    def beside(
        self,
        loss: SimilarityLoss,
        queries: Embeddings,
        documents: Embeddings,
        relation: Relation,
        scorer: Scorer,
        encode: EncodeOrigins,
    ) -> Tensor | None:
        """One more logit against each query (N,), for a loss that takes it; see `SimilarityLoss.takes_extra`.

        Args:
            loss: what embeddings are compared by.
            queries: N embeddings.
            documents: M embeddings.
            relation: of these.
            scorer: how embeddings compare.
            encode: encodes documents of earlier batches again.

        Returns:
            Logits in the graph, −inf for none; None for none at all.
        """
        return None

    def check(self, kind: RelationKind, is_stream: bool) -> None:
        """Raise for samples that it cannot remember, before training starts.

        Args:
            kind: of the relation that the samples give.
            is_stream: whether they have no numbers, so that none can be read again.
        """

    def figures(self) -> dict[str, Tensor]:
        """What the last step looked like, as scalars by name, logged as `train_<name>`."""
        return {}

    def remember(self, documents: Embeddings, relation: Relation, origins: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            documents: M embeddings.
            relation: what is known of them.
            origins: (M, 2) where they came from, so that they can be encoded again; None for streams. See `Batch`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define remember")
