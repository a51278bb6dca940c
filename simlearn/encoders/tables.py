"""Tables of learnt vectors, one row a token or category."""

from __future__ import annotations

import math

from torch import nn

SPARSE_FROM = 100_000
"""Rows from which on a table has sparse gradients: a step of AdamW reads and writes every row of a table, whatever the
batch holds, which for 200,000 rows of 256 takes many times what the step itself does."""


def has_sparse_gradients(sparse: bool | None, rows: int) -> bool:
    """Whether the gradients of a table are sparse: as asked for, else from `SPARSE_FROM` rows on."""
    return rows >= SPARSE_FROM if sparse is None else bool(sparse)


def start_at_random(table: nn.Embedding | nn.EmbeddingBag) -> None:
    """Random rows of unit length on average: their means already tell objects apart."""
    nn.init.normal_(table.weight, std=1 / math.sqrt(table.embedding_dim))
