"""Looking at a space of embeddings: a report with pictures, and files for TensorBoard's projector."""

from simlearn.inspection.look.look import Look, NeighbourList
from simlearn.inspection.look.look_at import look_at
from simlearn.inspection.look.plane import project
from simlearn.inspection.look.projector import export_projector

__all__ = ["Look", "NeighbourList", "export_projector", "look_at", "project"]
