"""What a relation says of a tile of queries and documents, as bools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from simlearn.relations.labels import shares_label

if TYPE_CHECKING:
    from simlearn.relations.relation import Relation


def similar(relation: Relation, rows: slice, columns: slice) -> Tensor:
    """Which documents are similar to which queries; see `Relation.positives`. Both slices have their bounds."""
    if relation.is_shared:
        return _without_diagonal(_has_common(relation, rows, columns), rows, columns)
    return relation.judgements.tile(relation.judged_scores > 0, rows, columns)


def different(relation: Relation, rows: slice, columns: slice, in_batch: bool) -> Tensor:
    """Which documents are different from which queries; see `Relation.negatives`. Both slices have their bounds."""
    if relation.is_shared:
        tile = _without_diagonal(~_has_common(relation, rows, columns), rows, columns)
        return _without_equal_ids(relation, tile, rows, columns)
    unjudged = _unjudged(relation, rows, columns, in_batch)
    return relation.judgements.tile(relation.judged_scores <= 0, rows, columns, unjudged)


def _unjudged(relation: Relation, rows: slice, columns: slice, in_batch: bool) -> Tensor | None:
    """What is different though nobody judged it; None where nothing is."""
    if relation.judged_only:
        return None
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    if relation.query_subgroups is not None and relation.document_subgroups is not None:
        queries, documents = relation.query_subgroups[rows, None], relation.document_subgroups[None, columns]
        tile = queries != documents
        if in_batch:
            tile |= queries == 0
    elif in_batch:
        tile = torch.ones(shape, dtype=torch.bool, device=relation.device)
    else:
        return None
    return _without_equal_ids(relation, tile, rows, columns)


def _has_common(relation: Relation, rows: slice, columns: slice) -> Tensor:
    """Where two objects have one group, or a label in common."""
    if relation.groups is not None:
        return relation.groups[rows, None] == relation.groups[None, columns]
    if relation.label_offsets is None or relation.labels is None:
        raise ValueError(f"a relation of {relation.kind} needs groups or labels")
    return shares_label(relation.label_offsets, relation.labels, rows, columns)


def _without_diagonal(tile: Tensor, rows: slice, columns: slice) -> Tensor:
    """The tile, False where query and first document are the same row."""
    tile.diagonal(rows.start - columns.start).fill_(False)
    return tile


def _without_equal_ids(relation: Relation, tile: Tensor, rows: slice, columns: slice) -> Tensor:
    """The tile, False where query and document are known to be one object."""
    if relation.query_ids is not None and relation.document_ids is not None:
        tile &= relation.query_ids[rows, None] != relation.document_ids[None, columns]
    return tile
