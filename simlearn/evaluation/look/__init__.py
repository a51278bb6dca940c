"""Looking at a space of embeddings: a report with pictures, and files for TensorBoard's projector."""

from simlearn.evaluation.look.gathering import look_at
from simlearn.evaluation.look.look import Look, NeighbourList
from simlearn.evaluation.look.plane import project
from simlearn.evaluation.look.projector import export_projector

__all__ = ["Look", "NeighbourList", "export_projector", "look_at", "project"]
