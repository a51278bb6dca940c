"""Embeddings in memory; what both tables do is in test_tables.py."""

from __future__ import annotations

import torch

from simlearn.embeddings import Embeddings
from simlearn.store import VectorTable


def test_vectors_lie_side_by_side_on_the_chosen_device() -> None:
    table = VectorTable("cpu")
    for number in range(5):
        table.append([bytes([number] * 16)], Embeddings(torch.full((1, 3), float(number))), {})
    assert table.vectors[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert table.vectors.device.type == "cpu" and table.meta == {}
