"""Negatives beyond the batch."""

from simlearn.negatives.cross_batch_memory import CrossBatchMemory, XbmConfig, XbmDevice

__all__ = ["CrossBatchMemory", "XbmConfig", "XbmDevice"]
