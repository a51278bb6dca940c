"""What is kept of earlier batches, and takes part in the loss of later ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

from simlearn.embeddings import Embeddings
from simlearn.losses import SimilarityLoss
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer

Origins: TypeAlias = "Tensor | list[Any]"
"""Where n documents came from, (n, 2), see `Batch`; of a stream, which nobody can read again, the documents."""


class EarlierDocuments(Protocol):
    """Documents of earlier batches, by where they came from."""

    def encode(self, origins: Origins, grad: bool, shared: bool) -> Embeddings:
        """Their embeddings by the weights of the moment.

        Args:
            origins: of n documents.
            grad: with gradients, in the mode of the step; else in eval mode.
            shared: whether all processes ask for the same ones: each then encodes its share, and all get all of them.
        """
        ...

    def read(self, origins: Origins) -> list[Any]:
        """The n documents themselves."""
        ...


class Memory(nn.Module):
    """The base of memories. A step asks each for its terms before the batch's own loss, and shows it the batch after.

    What is kept is the module's state, so that a run that resumes goes on as it would have. Batches are those of all
    processes, and so is what most memories keep. One that keeps something else in each process defines `start`,
    `finish`, `whole` and `share_of`.
    """

    encodes_again = False
    """Whether it needs to know where documents came from."""
    replaces_batch = False
    """Whether the logit of `beside` stands for the documents of the batch too that nobody judged for a query."""

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
        earlier: EarlierDocuments | None,
    ) -> Tensor | None:
        """One more logit against each query (N,), for a loss that takes it; see `SimilarityLoss.takes_extra`.

        Args:
            loss: what embeddings are compared by.
            queries: N embeddings.
            documents: M embeddings.
            relation: of these.
            scorer: how embeddings compare.
            earlier: documents of earlier batches, to be encoded again; None where nobody can.

        Returns:
            Logits in the graph, −inf for none; None for none at all.
        """
        return None

    def check(self, kind: RelationKind, most: int | None) -> None:
        """Raise for samples that it cannot remember, before training starts.

        Args:
            kind: of the relation that the samples give.
            most: how many documents they have at most; None where nobody knows.
        """

    def figures(self) -> dict[str, Tensor]:
        """What the last step looked like, as scalars by name, logged as `train_<name>`."""
        return {}

    def remember(self, documents: Embeddings, relation: Relation, origins: Origins | None = None) -> None:
        """Take in a batch.

        Args:
            documents: M embeddings.
            relation: what is known of them.
            origins: of them, so that they can be encoded again; None where the memory has not asked for them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define remember")

    # Of several processes

    def start(self) -> None:
        """Called in every process when a fit starts, before a checkpoint is loaded."""

    def finish(self) -> None:
        """Called in every process when a fit ends: what is kept becomes the same in all of them."""

    def whole(self) -> dict[str, Any]:
        """The state as a checkpoint holds it, by the names of `state_dict`; called in every process at once."""
        return self.state_dict()

    def share_of(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What `load_state_dict` takes in this process, of what `whole` gave."""
        return dict(state)
