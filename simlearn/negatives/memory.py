"""What is kept of earlier batches, and takes part in the loss of later ones."""

from __future__ import annotations

from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.relations import Relation
from simlearn.scoring import Scorer


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
        raise NotImplementedError(f"{type(self).__name__} must define terms")

    def remember(self, documents: Embeddings, relation: Relation, origins: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            documents: M embeddings.
            relation: what is known of them.
            origins: (M, 2) where they came from, so that they can be encoded again; None for streams. See `Batch`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define remember")
