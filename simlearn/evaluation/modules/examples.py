"""Objects and what is similar among them, ranked against each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.evaluation.rankings import Qrels, Ranking
from simlearn.scoring import Scorer
from simlearn.search import Neighbours, top_k


@dataclass(frozen=True, eq=False)
class Examples:
    """N objects, each a query and a document at once. Build it with one of the `from_...` methods.

    Args:
        objects: N embeddings.
        scorer: how they compare.
        groups: (N,) int64, or None.
        qrels: which objects are similar to which, or None where groups say so.
        pair_scores: (P,) float32 scores by the scorer of the pairs that were given, or None for groups.
        pair_labels: (P,) float32 the labels they came with.
    """

    objects: Embeddings
    scorer: Scorer
    groups: Tensor | None = None
    qrels: Qrels | None = None
    pair_scores: Tensor | None = None
    pair_labels: Tensor | None = None

    @classmethod
    def from_groups(cls, objects: Embeddings, groups: Tensor, ids: Tensor | None, scorer: Scorer) -> Examples:
        """Of (N,) groups; of objects with one id the first is kept."""
        if ids is not None:
            first = _first_of_each(ids)[0]
            objects, groups = objects.take(first), groups[first]
        return cls(objects, scorer, groups=groups)

    @classmethod
    def from_pairs(
        cls, first: Embeddings, second: Embeddings, labels: Tensor, ids: Tensor | None, scorer: Scorer
    ) -> Examples:
        """Of P pairs with (P,) labels; (P, 2) ids. Of different labels of the same two objects the highest holds."""
        n_pairs = len(labels)
        objects = Embeddings.concatenate([first, second])
        rows = torch.arange(2 * n_pairs, device=objects.device)
        if ids is not None:
            kept, rows = _first_of_each(ids.T.reshape(-1))
            objects = objects.take(kept)
        left, right = rows[:n_pairs], rows[n_pairs:]
        # Both ways, and an object that was paired with itself says nothing.
        apart = left != right
        queries, documents = torch.cat([left[apart], right[apart]]), torch.cat([right[apart], left[apart]])
        cells, cell = torch.unique(queries * len(objects) + documents, return_inverse=True)
        grades = labels.new_full((len(cells),), -torch.inf)
        grades = grades.scatter_reduce(0, cell, labels[apart].repeat(2), reduce="amax")
        counts = torch.bincount(cells.div(len(objects), rounding_mode="floor"), minlength=len(objects))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        qrels = Qrels(offsets, cells % len(objects), grades)
        return cls(
            objects,
            scorer,
            qrels=qrels,
            pair_scores=scorer.paired(first, second).float(),
            pair_labels=labels,
        )

    @property
    def most_relevant(self) -> int:
        """The largest number of objects that are similar to one."""
        if self.groups is not None:
            return int(torch.unique(self.groups, return_counts=True)[1].max()) - 1
        return 0 if self.qrels is None else int(self.qrels.offsets.diff().max())

    def search(self, k: int) -> Neighbours:
        """The k nearest other objects of each."""
        return top_k(self.objects, self.objects, k, self.scorer, exclude_self=True)

    def rank(self, k: int) -> Ranking:
        """The k nearest other objects of each, judged."""
        indices = self.search(k).indices
        if self.groups is not None:
            return Ranking.of_groups(indices, self.groups)
        if self.qrels is None:
            raise ValueError("examples need groups or qrels")
        return Ranking.of(indices, self.qrels)


def _first_of_each(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each id, ascending, and for each row the number of its object among those."""
    unique, inverse = torch.unique(ids, return_inverse=True)
    rows = torch.arange(len(ids), device=ids.device)
    first = rows.new_full((len(unique),), len(ids)).scatter_reduce(0, inverse, rows, reduce="amin")
    order = first.argsort()
    return first[order], order.argsort()[inverse]
