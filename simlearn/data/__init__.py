"""From samples to batches."""

from simlearn.data.batch import Batch, BatchCollator, SampleBatch, SampleTable
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.loaders import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityDataLoader,
    SimilarityGroupDataset,
)
from simlearn.data.samplers import GroupBatchSampler

__all__ = [
    "Batch",
    "BatchCollator",
    "BoundLoader",
    "GroupBatchSampler",
    "GroupSimilarityDataLoader",
    "LabelSimilarityDataLoader",
    "PairsSimilarityDataLoader",
    "RankingSimilarityDataLoader",
    "SampleBatch",
    "SampleTable",
    "SimilarityDataLoader",
    "SimilarityGroupDataset",
]
