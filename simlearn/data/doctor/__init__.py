"""A look at data before training: leaks, duplicates, contradictions, and what a batch can teach."""

from simlearn.data.doctor.examination import examine
from simlearn.data.doctor.findings import DataReport, Finding

__all__ = ["DataReport", "Finding", "examine"]
