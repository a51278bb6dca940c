"""What every process does in an epoch, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from simlearn.data.share import Share


def shares(world_size: int, *, training: bool = True, drop_last: bool = True) -> list[Share]:
    """One share a process."""
    return [Share(rank, world_size, training, drop_last) for rank in range(world_size)]


def plans(planner: Any, epoch: int, world_size: int, **options: bool) -> list[list[list[int]]]:
    """For each process the list of its batches."""
    return [
        [np.asarray(batch).tolist() for batch in planner.plan(epoch, share)] for share in shares(world_size, **options)
    ]


def global_batches(by_process: list[list[list[int]]]) -> list[list[int]]:
    """The batches of all processes joined, step by step; in evaluation some may have one less."""
    steps = max((len(batches) for batches in by_process), default=0)
    return [
        [row for batches in by_process for row in (batches[step] if step < len(batches) else [])]
        for step in range(steps)
    ]
