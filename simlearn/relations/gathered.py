"""The columns of a relation, joined from all processes."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from simlearn.distributed import gather_parts

RelationColumns: TypeAlias = dict[str, Tensor | None]

_OFFSETS = ("offsets", "label_offsets")
_SUBGROUPS = ("query_subgroups", "document_subgroups")


def gather_columns(
    columns: RelationColumns, n_queries: int, n_documents: int
) -> tuple[RelationColumns, tuple[tuple[int, int], ...]]:
    """Join the columns of every process's relation, in the order of their ranks, in two collectives.

    Args:
        columns: all tensor fields of a relation by name, None for those it lacks. Only subgroups may be missing in one
            process and not in another, namely where a batch happens to have none: there they are 0.
        n_queries: N of this process.
        n_documents: M of this process.

    Returns:
        The columns of the whole, and N and M of each process.
    """
    device = next(column.device for column in columns.values() if column is not None)
    nothing = torch.empty(0, dtype=torch.long, device=device)
    own = {
        name: nothing if column is None else column.diff() if name in _OFFSETS else column
        for name, column in columns.items()
    }
    sizes = torch.tensor([[n_queries, n_documents]], device=device)
    told, *gathered = gather_parts([sizes, *own.values()])
    counts = torch.cat(told)
    before = counts.cumsum(0) - counts
    joined: RelationColumns = {}
    for (name, column), parts in zip(columns.items(), gathered, strict=True):
        if name in _SUBGROUPS and any(len(part) for part in parts):
            per_process = counts[:, _SUBGROUPS.index(name)].tolist()
            parts = [part if len(part) else part.new_zeros(size) for part, size in zip(parts, per_process, strict=True)]
        elif column is None:
            joined[name] = None
            continue
        if name == "judged_queries":
            parts = [part + first for part, first in zip(parts, before[:, 0], strict=True)]
        elif name == "judged_documents":
            parts = [part + first for part, first in zip(parts, before[:, 1], strict=True)]
        whole = torch.cat(parts)
        joined[name] = torch.cat([whole.new_zeros(1), whole.cumsum(0)]) if name in _OFFSETS else whole
    return joined, tuple((queries, documents) for queries, documents in counts.tolist())
