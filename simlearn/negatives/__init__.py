"""Negatives beyond the batch: those of earlier batches, and hard ones searched in the whole data."""

from simlearn.negatives.cross_batch_memory import CrossBatchMemory, XbmConfig, XbmDevice
from simlearn.negatives.hard_negatives import HardNegatives, mine_hard_negatives
from simlearn.negatives.memory import EarlierDocuments, Memory
from simlearn.negatives.mining import MiningConfig, MiningCounts
from simlearn.negatives.negative_cache import KeptFeatures, NegativeCache, NegativeCacheConfig

__all__ = [
    "CrossBatchMemory",
    "EarlierDocuments",
    "HardNegatives",
    "KeptFeatures",
    "Memory",
    "MiningConfig",
    "MiningCounts",
    "NegativeCache",
    "NegativeCacheConfig",
    "XbmConfig",
    "XbmDevice",
    "mine_hard_negatives",
]
