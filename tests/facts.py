"""What is known of a batch, in plain Python: the oracle of relations and losses."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from simlearn.relations import Relation, RelationKind


@dataclass(frozen=True)
class Facts:
    """A batch of N samples.

    Args:
        kind: of its relation.
        scores: a score a pair, or a list of relevances a ranking.
        groups: a group an object.
        labels: a list of labels an object.
        subgroups: of the two objects of each pair.
        query_ids: an id a query; None where objects are not known.
        document_ids: an id a document.
        matrix: of a matrix, its rows; None where it says nothing.
        width: of a matrix, the number of its columns.
        log_q: of each document.
        asked: how many of the queries ask, where the others and their documents are only remembered; None for all.
    """

    kind: RelationKind
    scores: list[float] = field(default_factory=list)
    relevances: list[list[float]] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    subgroups: list[tuple[int, int]] | None = None
    query_ids: list[int] | None = None
    document_ids: list[int] | None = None
    matrix: list[list[float | None]] = field(default_factory=list)
    width: int = 0
    log_q: list[float] | None = None
    asked: int | None = None

    @property
    def shared(self) -> bool:
        return self.kind in (RelationKind.GROUPS, RelationKind.LABELS)

    @property
    def n_queries(self) -> int:
        if self.asked is not None:
            return self.asked
        return len(self.scores) + len(self.relevances) + len(self.groups) + len(self.labels) + len(self.matrix)

    @property
    def n_documents(self) -> int:
        if self.kind is RelationKind.MATRIX:
            return self.width
        return sum(map(len, self.relevances)) if self.relevances else replace(self, asked=None).n_queries

    def given(self) -> list[tuple[int, int, float]]:
        """Query, document and score as the samples said it."""
        if self.kind is RelationKind.PAIRS:
            return [(row, row, score) for row, score in enumerate(self.scores)]
        if self.kind is RelationKind.MATRIX:
            cells = [(i, j, score) for i, row in enumerate(self.matrix) for j, score in enumerate(row)]
            return [(i, j, score) for i, j, score in cells if score is not None]
        relevances = [(query, value) for query, values in enumerate(self.relevances) for value in values]
        return [(query, document, value) for document, (query, value) in enumerate(relevances)]

    def judgement(self, query: int, document: int) -> float | None:
        """The highest score given for these two objects."""
        q_id, d_id = self._object(self.query_ids, query), self._object(self.document_ids, document)
        scores = [
            score
            for i, j, score in self.given()
            if self._object(self.query_ids, i) == q_id and self._object(self.document_ids, j) == d_id
        ]
        return max(scores) if scores else None

    def _object(self, ids: list[int] | None, row: int) -> int:
        both_known = self.query_ids is not None and self.document_ids is not None
        return ids[row] if both_known and ids is not None else row

    def same_object(self, query: int, document: int) -> bool:
        if self.shared and query == document:
            return True
        if self.query_ids is None or self.document_ids is None:
            return False
        return self.query_ids[query] == self.document_ids[document]

    def common(self, first: int, second: int) -> bool:
        if self.kind is RelationKind.GROUPS:
            return self.groups[first] == self.groups[second]
        return bool(set(self.labels[first]) & set(self.labels[second]))

    def positive(self, query: int, document: int) -> bool:
        if self.shared:
            return query != document and self.common(query, document)
        judgement = self.judgement(query, document)
        return judgement is not None and judgement > 0

    def negative(self, query: int, document: int, in_batch: bool = True) -> bool:
        if self.shared:
            return not self.common(query, document) and not self.same_object(query, document)
        judgement = self.judgement(query, document)
        if judgement is not None:
            return judgement <= 0
        if self.same_object(query, document):
            return False
        if self.subgroups is None:
            return in_batch
        first, second = self.subgroups[query][0], self.subgroups[document][1]
        if first == second:
            return in_batch and first == 0
        return True

    def positives(self, query: int) -> list[int]:
        return [document for document in range(self.n_documents) if self.positive(query, document)]

    def negatives(self, query: int) -> list[int]:
        return [document for document in range(self.n_documents) if self.negative(query, document)]

    def permuted(self, order: Sequence[int]) -> tuple[Facts, list[int]]:
        """The same samples in another order, and where each of their documents was before."""
        documents = list(order)
        if self.kind is RelationKind.RANKING:
            owners = [query for query, _, _ in self.given()]
            documents = [document for query in order for document in range(len(owners)) if owners[document] == query]
        if self.kind is RelationKind.MATRIX:
            documents = list(range(self.width))[::-1]
            self = replace(self, matrix=[[row[document] for document in documents] for row in self.matrix])
        picked = {
            name: [values[row] for row in (documents if name in ("document_ids", "log_q") else order)]
            for name, values in vars(self).items()
            if isinstance(values, list) and values
        }
        return replace(self, **picked), documents  # type: ignore[arg-type]

    def relation(self) -> Relation:
        """The relation that says the same."""
        relation = self._relation()
        if self.log_q is None:
            return relation
        return replace(relation, document_log_q=torch.tensor(self.log_q, dtype=torch.float32))

    def _relation(self) -> Relation:
        ids = None
        if self.query_ids is not None and self.document_ids is not None:
            ids = (_long(self.query_ids), _long(self.document_ids))
        if self.kind is RelationKind.PAIRS:
            subgroups = None
            if self.subgroups is not None:
                subgroups = (_long([a for a, _ in self.subgroups]), _long([b for _, b in self.subgroups]))
            return Relation.from_pairs(torch.tensor(self.scores), subgroups, ids)
        if self.kind is RelationKind.MATRIX:
            known = [[math.nan if score is None else score for score in row] for row in self.matrix]
            return Relation.from_matrix(torch.tensor(known).view(len(known), self.width), ids)
        if self.kind is RelationKind.RANKING:
            relevances = [value for values in self.relevances for value in values]
            return Relation.from_ranking(_offsets(self.relevances), torch.tensor(relevances), ids)
        own = None if ids is None else ids[0]
        if self.kind is RelationKind.GROUPS:
            return Relation.from_groups(_long(self.groups), own)
        return Relation.from_labels(_offsets(self.labels), _long([one for many in self.labels for one in many]), own)


def random_facts(
    kind: RelationKind, seed: int, size: int, *, ids: bool = True, subgroups: bool = True, graded: bool = False
) -> Facts:
    """Facts of `size` samples in which objects, groups, labels and subgroups repeat."""
    rng = random.Random(f"{kind} {seed}")
    facts = Facts(kind)
    if kind is RelationKind.PAIRS:
        facts = replace(facts, scores=[rng.choice((1.0, 1.0, 0.0, 0.5 if graded else 1.0)) for _ in range(size)])
        if subgroups:
            facts = replace(facts, subgroups=[(rng.choice((0, 7, 8)),) * 2 for _ in range(size)])
    elif kind is RelationKind.RANKING:
        relevances = [[rng.choice((0.0, 1.0, 2.0)) for _ in range(rng.randint(0, 4))] for _ in range(size)]
        facts = replace(facts, relevances=relevances)
    elif kind is RelationKind.MATRIX:
        width = size and rng.randint(0, 2 * size)
        matrix = [[rng.choice((None, None, 0.0, 1.0)) for _ in range(width)] for _ in range(size)]
        facts = replace(facts, matrix=matrix, width=width)
    elif kind is RelationKind.GROUPS:
        facts = replace(facts, groups=[rng.choice((3, 4, 2**62)) for _ in range(size)])
    else:
        labels = [sorted(rng.sample([-1, 0, 5, 2**60], rng.randint(0, 2))) for _ in range(size)]
        facts = replace(facts, labels=labels)
    if not ids:
        return facts
    # Objects repeat now and then; what is both a query and a document has the same id in both.
    query_ids = [rng.randrange(2 * size) for _ in range(facts.n_queries)]
    document_ids = [rng.randrange(3 * size) for _ in range(facts.n_documents)]
    return replace(facts, query_ids=query_ids, document_ids=query_ids if facts.shared else document_ids)


def joined(parts: Sequence[Facts]) -> Facts:
    """The facts of the batches of several processes, one after the other."""
    whole = parts[0]
    for part in parts[1:]:
        subgroups = None
        if whole.subgroups is not None or part.subgroups is not None:
            subgroups = [pair for facts in (whole, part) for pair in facts.subgroups or [(0, 0)] * facts.n_queries]
        whole = replace(
            whole,
            scores=whole.scores + part.scores,
            relevances=whole.relevances + part.relevances,
            groups=whole.groups + part.groups,
            labels=whole.labels + part.labels,
            matrix=[row + [None] * part.width for row in whole.matrix]
            + [[None] * whole.width + row for row in part.matrix],
            width=whole.width + part.width,
            subgroups=subgroups,
            query_ids=None if whole.query_ids is None else whole.query_ids + (part.query_ids or []),
            document_ids=None if whole.document_ids is None else whole.document_ids + (part.document_ids or []),
            log_q=None if whole.log_q is None else whole.log_q + (part.log_q or []),
        )
    return whole


def _long(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def _offsets(rows: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
