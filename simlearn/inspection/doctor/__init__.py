"""A look at data before training: leaks, duplicates, contradictions, and what a batch can teach."""

from simlearn.inspection.doctor.examination import examine
from simlearn.inspection.doctor.findings import DataReport, Finding

__all__ = ["DataReport", "Finding", "examine"]
