"""Looking at data and at a space, for a person; nothing here is needed to train or to serve."""

from simlearn.inspection.doctor import DataReport, Finding, examine
from simlearn.inspection.look import Look, NeighbourList, look_at, project

__all__ = ["DataReport", "Finding", "Look", "NeighbourList", "examine", "look_at", "project"]
