"""The forms in which a loss is called as a plain module, each turned into what `compute` takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

import torch
from torch import Tensor

from simlearn.embeddings import Embeddings
from simlearn.hashing import stable_id
from simlearn.relations import Relation, RelationKind

Labels: TypeAlias = Tensor | Sequence[Iterable[object]]
"""Labels of N objects: a list of them each, or (N, C) of zeros and ones."""
Comparison: TypeAlias = tuple[Embeddings, Embeddings, Relation]
"""Queries, documents, and what is similar to what."""

_SPELLED = {
    RelationKind.GROUPS: "loss(embeddings, groups=groups)",
    RelationKind.LABELS: "loss(embeddings, labels=labels)",
    RelationKind.MATRIX: "loss(queries, documents, scores=scores) with (N, M) scores",
    RelationKind.PAIRS: "loss(queries, documents, scores=scores) with (N,) scores",
    RelationKind.RANKING: "loss(queries, candidates, scores=scores) with (N, K) scores of N * K candidates",
}


@dataclass(frozen=True)
class CallForms:
    """The forms of calls that one loss takes, and what is said of the others.

    Args:
        name: of the loss.
        kinds: the kinds of samples that it learns from.
        needs_scores: whether pairs that nobody judged teach it nothing.
    """

    name: str
    kinds: frozenset[RelationKind]
    needs_scores: bool

    def read(
        self,
        queries: Tensor | Embeddings | None,
        documents: Tensor | Embeddings | None,
        pairs: Tensor | None = None,
        labels: Labels | None = None,
        subgroups: Tensor | None = None,
        groups: Tensor | None = None,
        scores: Tensor | None = None,
        relation: Relation | None = None,
    ) -> Comparison:
        """What is to be compared; `SimilarityLoss.forward` tells what the arguments mean.

        Args:
            queries: N embeddings.
            documents: M embeddings; a tensor (N,) is meant as `groups`, integers (B, 2) as `pairs`.
            pairs: (B, 2) rows of `queries`.
            labels: of the queries, or the (B,) scores of the pairs.
            subgroups: (N,) of the queries, beside pairs.
            groups: (N,) of the queries.
            scores: (N,), (N, K) or (N, M).
            relation: of any kind.

        Returns:
            Queries, documents (the same object where the relation is shared), and the relation.

        Raises:
            TypeError: for what the loss cannot learn from, what is missing or contradicts, and what is no embedding.
            ValueError: for shapes that do not fit.
        """
        if isinstance(documents, Tensor) and documents.ndim == 1 and groups is None:
            documents, groups = None, documents
        elif _are_rows(documents) and pairs is None:
            documents, pairs = None, documents
        objects = self._embeddings("queries", queries)
        told = {"groups": groups, "labels": labels, "scores": scores, "relation": relation}
        names = [name for name, value in told.items() if value is not None]
        if pairs is not None or subgroups is not None:
            if pairs is None or not isinstance(labels, Tensor) or names != ["labels"] or documents is not None:
                raise TypeError(
                    f"{self.name} takes rows of pairs as loss(embeddings, pairs, labels, subgroups) with a tensor of "
                    "labels and nothing else; for queries and documents that are paired row by row, their subgroups "
                    "are told by relation=Relation.from_pairs(scores, subgroups)"
                )
            return self._rows_of_pairs(objects, pairs, labels, subgroups)
        if len(names) > 1:
            raise TypeError(f"{self.name} was given {' and '.join(names)}; pass one, which tells what is similar")
        others = None if documents is None else self._embeddings("documents", documents)
        if groups is not None:
            relation = Relation.from_groups(_group_numbers(groups))
        elif labels is not None:
            relation = _relation_of_labels(labels, objects.device)
        elif scores is not None:
            relation = self._judged(objects, others, scores)
        elif relation is None:
            relation = self._paired(objects, others)
        return self._fitting(objects, others, relation)

    def _embeddings(self, what: str, given: object) -> Embeddings:
        if isinstance(given, Embeddings):
            return given
        if isinstance(given, Tensor) and given.is_floating_point() and given.ndim in (2, 3):
            return Embeddings(given)
        told = f"a tensor {tuple(given.shape)} of {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
        raise TypeError(
            f"{self.name} takes {what} as floats (N, D) or (N, M, D), or as Embeddings, got {told}; numbers (N,) as "
            f"the second argument are groups. {self._cure()}"
        )

    def _cure(self) -> str:
        return f"Call it as {', or '.join(_SPELLED[kind] for kind in sorted(self.kinds))}"

    def _rows_of_pairs(
        self, objects: Embeddings, pairs: Tensor, scores: Tensor, subgroups: Tensor | None
    ) -> Comparison:
        if pairs.ndim != 2 or pairs.shape[1] != 2 or scores.shape != pairs.shape[:1]:
            raise ValueError(
                f"{self.name} takes (B, 2) rows of pairs with (B,) labels, got {tuple(pairs.shape)} and "
                f"{tuple(scores.shape)}"
            )
        rows = pairs.T.reshape(-1)
        told = None
        if subgroups is not None:
            first, second = subgroups.index_select(0, rows).long().reshape(2, -1)
            told = (first, second)
        relation = Relation.from_pairs(scores, told, (pairs[:, 0], pairs[:, 1]))
        queries, documents = objects.take(rows).split([len(pairs), len(pairs)])
        return self._fitting(queries, documents, relation)

    def _paired(self, queries: Embeddings, documents: Embeddings | None) -> Relation:
        """Row i of the queries belongs to row i of the documents."""
        if documents is None or RelationKind.PAIRS not in self.kinds:
            raise TypeError(f"{self.name} was not told what it learns from. {self._cure()}")
        if len(queries) != len(documents):
            raise ValueError(
                f"{self.name} pairs queries and documents row by row, got {len(queries)} and {len(documents)}; tell "
                "what belongs together by scores= or relation="
            )
        if self.needs_scores:
            raise TypeError(
                f"{self.name} learns from how pairs were judged, and from nothing else; pass scores=, such as "
                "loss(queries, documents, scores=scores) with (N,) scores"
            )
        return Relation.from_pairs(torch.ones(len(queries), device=queries.device))

    def _judged(self, queries: Embeddings, documents: Embeddings | None, scores: object) -> Relation:
        """Scores of pairs, of the candidates of each query, or of all documents for all queries, by their shape."""
        if documents is None:
            raise TypeError(
                f"{self.name} got scores without documents; scores judge queries against documents: "
                "loss(queries, documents, scores=scores)"
            )
        if not isinstance(scores, Tensor):
            raise TypeError(f"scores must be a tensor, got {type(scores).__name__}; torch.tensor(scores) makes one")
        n, m = len(queries), len(documents)
        if scores.shape == (n,) and n == m:
            return Relation.from_pairs(scores)
        if scores.ndim == 2 and len(scores) == n and scores.numel() == m:
            offsets = scores.shape[1] * torch.arange(n + 1, device=scores.device)
            return Relation.from_ranking(offsets, scores.reshape(-1))
        if scores.shape == (n, m):
            return Relation.from_matrix(scores)
        raise ValueError(
            f"scores of shape {tuple(scores.shape)} do not judge {n} queries against {m} documents; pass (N,) for N "
            "pairs, (N, K) for K candidates of each query, which are N * K documents query after query, or (N, M) for "
            "all. Where queries have different numbers of candidates: relation=Relation.from_ranking(offsets, scores)"
        )

    def _fitting(self, queries: Embeddings, documents: Embeddings | None, relation: object) -> Comparison:
        """The comparison, if the loss learns from its kind and all is of one size."""
        if not isinstance(relation, Relation):
            raise TypeError(f"relation must be a Relation, got {type(relation).__name__}")
        if relation.kind not in self.kinds:
            known = " or ".join(sorted(self.kinds))
            raise TypeError(f"{self.name} takes {known}, got {relation.kind}. {self._cure()}")
        if documents is None and not relation.is_shared:
            raise TypeError(f"{self.name} got a relation of {relation.kind} and no documents; pass queries, documents")
        if documents is None:
            documents = queries
        elif relation.is_shared and relation.n_documents == relation.n_queries and documents is not queries:
            raise TypeError(
                f"{self.name} got documents beside {relation.kind}, which are of objects that are compared among "
                f"themselves; pass all objects as the first argument: {_SPELLED[relation.kind]}"
            )
        sizes = (relation.n_queries, relation.n_documents)
        if (len(queries), len(documents)) != sizes:
            raise ValueError(
                f"{self.name} got {len(queries)} queries and {len(documents)} documents, and was told of "
                f"{sizes[0]} and {sizes[1]} what is similar; pass as many {relation.kind} as embeddings"
            )
        return queries, documents, relation


def _are_rows(given: object) -> TypeGuard[Tensor]:
    return isinstance(given, Tensor) and given.shape[1:] == (2,) and not given.is_floating_point()


def _group_numbers(groups: object) -> Tensor:
    if not isinstance(groups, Tensor):
        raise TypeError(
            f"groups must be integers (N,) in a tensor, got {type(groups).__name__}; torch.tensor(groups) makes one, "
            "of names take simlearn.hashing.stable_id of each"
        )
    if groups.ndim != 1 or groups.dtype is torch.bool:
        raise TypeError(
            f"groups must be integers (N,), got {tuple(groups.shape)} of {groups.dtype}; several labels an object are "
            "labels=, scores are scores="
        )
    if groups.is_floating_point() and bool((groups != groups.trunc()).any()):
        raise ValueError("groups must be whole numbers, got others; scores of pairs are scores=")
    return groups.long()


def _relation_of_labels(labels: object, device: torch.device) -> Relation:
    """Alike where a label is shared; the labels of a matrix are the numbers of its columns."""
    if isinstance(labels, Tensor):
        if labels.ndim != 2:
            raise TypeError(
                f"labels must be a list of labels for each object, or zeros and ones (N, C), got a tensor "
                f"{tuple(labels.shape)}; one label an object is groups=labels, scores of pairs are scores=labels"
            )
        if not bool(((labels == 0) | (labels == 1)).all()):
            raise ValueError(
                "labels (N, C) must be zeros and ones, a column for each label; pass a list of labels for each object, "
                "or groups= for the number of one label an object"
            )
        numbers = labels.nonzero()[:, 1]
        counts = labels.bool().sum(1)
    else:
        lists = _label_lists(labels)
        numbers = torch.tensor([one for own in lists for one in own], dtype=torch.long, device=device)
        counts = torch.tensor([len(own) for own in lists], dtype=torch.long, device=device)
    return Relation.from_labels(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), numbers)


def _label_lists(labels: object) -> list[list[int]]:
    """The ids of the labels of each object; repeated ones count once."""
    if not isinstance(labels, Sequence) or isinstance(labels, (str, bytes)):
        raise TypeError(f"labels must be a list with a list of labels for each object, got {type(labels).__name__}")
    lists = []
    for own in labels:
        if isinstance(own, (str, bytes)) or not isinstance(own, Iterable):
            raise TypeError(
                f"labels must hold a list of labels for each object, got {own!r}; write [[label], ...] for one label "
                "an object, or pass groups="
            )
        lists.append(sorted({stable_id(one, name="label", cure="pass labels that are str or int") for one in own}))
    return lists
