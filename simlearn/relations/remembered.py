"""Documents whose batch is gone, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from simlearn.ragged import entries
from simlearn.relations.judgements import PairJudgements
from simlearn.relations.relation import Relation


@dataclass(frozen=True, eq=False)
class Remembered:
    """What a relation said of K documents, for later queries to be compared with them.

    Groups and labels tell by themselves who is alike. Of pairs and rankings it stays whose candidate a document was and
    with what score, which holds for a later query that is the same object.

    Args:
        groups: (K,) int64, for `GROUPS`.
        label_counts: (K,) int64, for `LABELS`: how many of `labels` each document has, one after the other.
        labels: (L,) int64.
        scores: (K,) float32, for `PAIRS` and `RANKING`.
        subgroups: (K,) int64, likewise.
        owner_ids: (K,) int64, likewise: the query that the score was given for; None where objects are not known.
        ids: (K,) int64; None where objects are not known.
        log_q: (K,) float32, with which probability each was drawn; None where nobody told.
    """

    groups: Tensor | None = None
    label_counts: Tensor | None = None
    labels: Tensor | None = None
    scores: Tensor | None = None
    subgroups: Tensor | None = None
    owner_ids: Tensor | None = None
    ids: Tensor | None = None
    log_q: Tensor | None = None

    @classmethod
    def of(cls, relation: Relation) -> Remembered:
        """What a relation says of its documents.

        Raises:
            TypeError: for a matrix, which says nothing of later queries.
        """
        ids, log_q = relation.document_ids, relation.document_log_q
        if relation.is_shared:
            counts = None if relation.label_offsets is None else relation.label_offsets.diff()
            return cls(groups=relation.groups, label_counts=counts, labels=relation.labels, ids=ids, log_q=log_q)
        if relation.scores is None:
            raise TypeError(f"documents of a {relation.kind} relation cannot be remembered; give pairs or rankings")
        owners, subgroups = relation.query_ids, relation.document_subgroups
        if owners is not None and relation.offsets is not None:
            owners = owners[entries(relation.offsets.diff(), relation.n_documents).owners]
        if subgroups is None:  # as in a batch that happens to have none
            subgroups = torch.zeros(relation.n_documents, dtype=torch.long, device=relation.device)
        return cls(scores=relation.scores, subgroups=subgroups, owner_ids=owners, ids=ids, log_q=log_q)

    def columns(self) -> dict[str, Tensor]:
        """The tensors there are, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def __len__(self) -> int:
        sizes = (self.groups, self.label_counts, self.scores)
        return next((len(column) for column in sizes if column is not None), 0)

    def to(self, device: torch.device | str) -> Remembered:
        """The same on another device."""
        return Remembered(**{name: column.to(device) for name, column in self.columns().items()})

    def then(self, later: Remembered) -> Remembered:
        """These documents, and later ones behind them.

        Raises:
            ValueError: for documents of which other things are known.
        """
        own, others = self.columns(), later.columns()
        if not own or not others:
            return later if not own else self
        if own.keys() != others.keys():
            raise ValueError(f"of the documents before {sorted(own)} are known, of these {sorted(others)}")
        return Remembered(**{name: torch.cat([column, others[name]]) for name, column in own.items()})

    def last(self, size: int) -> Remembered:
        """The last `size` documents, all where there are fewer."""
        start = max(0, len(self) - size)
        kept = {name: column[start:] for name, column in self.columns().items() if name != "labels"}
        if self.labels is not None and self.label_counts is not None:
            kept["labels"] = self.labels[int(self.label_counts[:start].sum()) :]
        return Remembered(**kept)

    def behind(self, relation: Relation) -> Relation:
        """A relation of N queries and M documents with these K behind its own: of N queries and M + K documents."""
        whole = Remembered.of(relation).then(self)
        changes: dict[str, Any] = {"n_documents": len(whole), "document_ids": whole.ids, "document_log_q": whole.log_q}
        if whole.label_counts is not None:
            changes["label_offsets"] = torch.cat([whole.label_counts.new_zeros(1), whole.label_counts.cumsum(0)])
            changes["labels"] = whole.labels
        elif whole.groups is not None:
            changes["groups"] = whole.groups
        else:
            if whole.subgroups is not None and bool(whole.subgroups.any()):
                nothing = torch.zeros(relation.n_queries, dtype=torch.long, device=relation.device)
                changes["query_subgroups"] = nothing if relation.query_subgroups is None else relation.query_subgroups
                changes["document_subgroups"] = whole.subgroups
            changes |= self._judged(relation, whole)
        return replace(relation, **changes)

    def _judged(self, relation: Relation, whole: Remembered) -> dict[str, Tensor]:
        """The judgements of the relation, and those that still hold of these documents."""
        judged = relation.judgements
        ids = relation.query_ids
        if ids is not None and len(ids) and self.owner_ids is not None and self.scores is not None:
            ascending, order = ids.sort()
            place = torch.searchsorted(ascending, self.owner_ids).clamp(max=len(ids) - 1)
            again = ascending[place] == self.owner_ids  # one row of the owner is enough: the judgement is closed below
            later = torch.arange(len(self), device=ids.device) + relation.n_documents
            more = (order[place][again], later[again], self.scores[again])
            joined = PairJudgements(*(torch.cat(both) for both in zip(judged, more, strict=True)))
            judged = joined.close_over(ids, whole.ids).by_query()
        return {"judged_queries": judged.queries, "judged_documents": judged.documents, "judged_scores": judged.scores}
