"""Objects and what is similar among them, ranked against each other or some of them against others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.evaluation.rankings.ranking import Qrels, Ranking
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
        queries: (Q,) int64 rows of the objects that are ranked for; None for all.
        documents: (M,) int64 rows of the objects that can be found; None for all.
        ids: (N,) int64; no object finds one with its own id. None: no object finds itself.
    """

    objects: Embeddings
    scorer: Scorer
    groups: Tensor | None = None
    qrels: Qrels | None = None
    pair_scores: Tensor | None = None
    pair_labels: Tensor | None = None
    queries: Tensor | None = None
    documents: Tensor | None = None
    ids: Tensor | None = None

    @classmethod
    def from_groups(cls, objects: Embeddings, groups: Tensor, ids: Tensor | None, scorer: Scorer) -> Examples:
        """Of (N,) groups; of objects with one id the first is kept."""
        if ids is not None:
            first = _first_of_each(ids)[0]
            objects, groups = objects.take(first), groups[first]
        return cls(objects, scorer, groups=groups)

    @classmethod
    def from_pairs(
        cls,
        first: Embeddings,
        second: Embeddings,
        labels: Tensor,
        ids: Tensor | None,
        scorer: Scorer,
        distinguish: bool = False,
    ) -> Examples:
        """Of P pairs with (P,) labels; (P, 2) ids. Of different labels of the same two objects the highest holds.

        Args:
            first: P embeddings.
            second: P embeddings.
            labels: (P,) above 0 for similar.
            ids: (P, 2) int64, equal for one object; None where no object comes twice.
            scorer: how embeddings compare.
            distinguish: whether first objects only look for second ones. Otherwise each object looks for all others.
        """
        n_pairs, device = len(labels), first.device
        ids = torch.arange(2 * n_pairs, device=device).reshape(2, -1).T if ids is None else ids
        if distinguish:  # an object on both sides may have an embedding for each
            (kept, left), (kept_second, right) = _first_of_each(ids[:, 0]), _first_of_each(ids[:, 1])
            right = right + len(kept)
            kept = torch.cat([kept, kept_second + n_pairs])
        else:
            kept, rows = _first_of_each(ids.T.reshape(-1))
            left, right = rows[:n_pairs], rows[n_pairs:]
        objects = Embeddings.concatenate([first, second]).take(kept)
        # Both ways, unless sides differ; and an object that was paired with itself says nothing.
        apart = ids[:, 0] != ids[:, 1]
        queries, documents, grades = left[apart], right[apart], labels[apart]
        if not distinguish:
            queries, documents = torch.cat([queries, documents]), torch.cat([documents, queries])
            grades = grades.repeat(2)
        cells, cell = torch.unique(queries * len(objects) + documents, return_inverse=True)
        highest = labels.new_full((len(cells),), -torch.inf).scatter_reduce(0, cell, grades, reduce="amax")
        counts = torch.bincount(cells.div(len(objects), rounding_mode="floor"), minlength=len(objects))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        examples = cls(
            objects,
            scorer,
            qrels=Qrels(offsets, cells % len(objects), highest),
            pair_scores=scorer.paired(first, second).float(),
            pair_labels=labels,
        )
        if not distinguish:
            return examples
        everything, n_first = torch.arange(len(objects), device=device), len(kept) - len(kept_second)
        queries, documents = everything[:n_first], everything[n_first:]
        return replace(examples, queries=queries, documents=documents, ids=ids.T.reshape(-1)[kept])

    @property
    def most_relevant(self) -> int:
        """The largest number of objects that are similar to one."""
        if self.groups is not None:
            return int(torch.unique(self.groups, return_counts=True)[1].max()) - 1
        return 0 if self.qrels is None else int(self.qrels.offsets.diff().max())

    def search(self, k: int) -> Neighbours:
        """The k nearest other objects of each that is ranked for; rows of objects."""
        if self.queries is None and self.documents is None and self.ids is None:
            return top_k(self.objects, self.objects, k, self.scorer, exclude_self=True)
        everything = torch.arange(len(self.objects), device=self.objects.device)
        ids = everything if self.ids is None else self.ids
        queries = everything if self.queries is None else self.queries
        documents = everything if self.documents is None else self.documents
        searched, corpus = self.objects.take(queries), self.objects.take(documents)
        found = top_k(searched, corpus, k, self.scorer, exclude_ids=(ids[queries], ids[documents]))
        rows = documents[found.indices.clamp(min=0)]
        return Neighbours(found.scores, torch.where(found.indices >= 0, rows, -1))

    def rank(self, k: int) -> Ranking:
        """The k nearest other objects of each that is ranked for, judged."""
        indices = self.search(k).indices
        if self.query_groups is not None and self.groups is not None:
            if self.queries is None:
                return Ranking.of_groups(indices, self.groups)
            alike = (self.groups[indices.clamp(min=0)] == self.query_groups[:, None]) & (indices >= 0)
            _, group, sizes = torch.unique(self.groups, return_inverse=True, return_counts=True)
            return Ranking.of_hits(alike, (sizes - 1)[group][self.queries])
        if self.qrels is None:
            raise ValueError("examples need groups or qrels")
        return Ranking.of(indices, self.qrels if self.queries is None else self.qrels.take(self.queries))

    @property
    def query_groups(self) -> Tensor | None:
        """(Q,) the groups of the objects that are ranked for."""
        return self.groups if self.groups is None or self.queries is None else self.groups[self.queries]


def _first_of_each(ids: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each id, ascending, and for each row the number of its object among those."""
    unique, inverse = torch.unique(ids, return_inverse=True)
    rows = torch.arange(len(ids), device=ids.device)
    first = rows.new_full((len(unique),), len(ids)).scatter_reduce(0, inverse, rows, reduce="amin")
    order = first.argsort()
    return first[order], order.argsort()[inverse]
