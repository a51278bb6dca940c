"""Anchors nearer to their positives than to their negatives."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal, get_args

import torch

from simlearn.distances import Distance
from simlearn.embeddings import Embeddings
from simlearn.losses.functional import hardest_triplets, triplet_all, triplet_hard, triplet_semi_hard
from simlearn.losses.similarity_loss import ALL_RELATIONS, GroupLoss, LossResult
from simlearn.losses.tiling import mine_hardest, tiled_loss
from simlearn.relations import Relation, RelationKind
from simlearn.scoring import Scorer

Mining = Literal["all", "hard", "semi_hard"]
_SORTING = 40
"""Matrices that sorting a tile takes at once, with the int64 places of what is sorted; measured."""


class TripletLoss(GroupLoss):
    """Wants every negative farther from the anchor than its positives, by a margin.

    Args:
        margin: how much farther. With cosine distance, 1 − cos, 0.3 is a good start; 1.0 asks for more than most data
            can give and trains badly. With `mining="hard"` it is in units of the mean hardest negative.
        distance_metric_name: how embeddings compare, where the model configures no scorer; None for cosine.
        mining: `"hard"` takes the hardest positive and negative of each anchor, `"semi_hard"` for each positive the
            nearest negative beyond it, `"all"` every triplet that violates the margin.
        soft: softplus instead of the margin; only with `mining="hard"`.

    Raises:
        ValueError: for an unknown mining, a negative margin, or `soft` without hard mining.
    """

    relations: ClassVar[frozenset[RelationKind]] = ALL_RELATIONS
    takes_memory: ClassVar[bool] = True

    def __init__(
        self,
        margin: float = 0.3,
        distance_metric_name: Distance | str | None = None,
        mining: Mining = "hard",
        soft: bool = False,
    ) -> None:
        super().__init__(distance_metric_name)
        if mining not in get_args(Mining):
            raise ValueError(f"mining must be one of {', '.join(get_args(Mining))}, got {mining!r}")
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        if soft and mining != "hard":
            raise ValueError(f"soft works with mining='hard' only, not with {mining!r}")
        self.margin = margin
        self.mining = mining
        self.soft = soft

    def compute(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """The loss of any relation."""
        if self.mining == "hard":
            return self._hard(queries, documents, relation, scorer)
        policy = partial(triplet_all if self.mining == "all" else triplet_semi_hard, margin=self.margin)
        tiled = partial(tiled_loss, by_distance=True, tile_bytes=self.tile_bytes, temporaries=_SORTING)
        return tiled(queries, documents, relation, scorer, policy)

    def _hard(self, queries: Embeddings, documents: Embeddings, relation: Relation, scorer: Scorer) -> LossResult:
        """Two distances an anchor: found without a gradient, then measured with one."""
        if not len(documents):  # nothing has no maximum
            nothing = torch.zeros(len(queries), 0, dtype=torch.bool, device=queries.device)
            return triplet_hard(scorer.distances(queries, documents), nothing, nothing, self.margin, self.soft)
        found = mine_hardest(queries, documents, relation, scorer, self.tile_bytes)
        farthest = scorer.paired_distances(queries, documents.take(found.positives))
        nearest = scorer.paired_distances(queries, documents.take(found.negatives))
        return hardest_triplets(farthest, nearest, found.has_positive, found.has_negative, self.margin, self.soft)
