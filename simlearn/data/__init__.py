"""From samples to batches."""

from simlearn.data.batch import Batch, BatchCollator, SampleBatch, SampleTable
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.group_batch_sampler import GroupBatchSampler
from simlearn.data.loaders import (
    GroupSimilarityDataLoader,
    LabelSimilarityDataLoader,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityGroupDataset,
)
from simlearn.data.log_q import IntervalLogQ, StreamedLogQ
from simlearn.data.shards import ShardedDataset
from simlearn.data.similarity_data_loader import SimilarityDataLoader
from simlearn.data.typos import KeyboardTypos

__all__ = [
    "Batch",
    "BatchCollator",
    "BoundLoader",
    "GroupBatchSampler",
    "GroupSimilarityDataLoader",
    "IntervalLogQ",
    "KeyboardTypos",
    "LabelSimilarityDataLoader",
    "PairsSimilarityDataLoader",
    "RankingSimilarityDataLoader",
    "SampleBatch",
    "SampleTable",
    "ShardedDataset",
    "SimilarityDataLoader",
    "SimilarityGroupDataset",
    "StreamedLogQ",
]
