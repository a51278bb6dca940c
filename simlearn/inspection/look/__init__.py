"""Looking at a space of embeddings: a report with pictures."""

from simlearn.inspection.look.look import Look, NeighbourList
from simlearn.inspection.look.look_at import look_at
from simlearn.inspection.look.plane import project

__all__ = ["Look", "NeighbourList", "look_at", "project"]
