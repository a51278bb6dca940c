"""From samples to batches."""

from simlearn.data.batch import Batch, BatchCollator, SampleBatch, SampleTable
from simlearn.data.bound_loader import BoundLoader
from simlearn.data.dialogues import Dialogue, ResponseSelectionFile
from simlearn.data.distillation import distill
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
    "Dialogue",
    "GroupBatchSampler",
    "GroupSimilarityDataLoader",
    "IntervalLogQ",
    "KeyboardTypos",
    "LabelSimilarityDataLoader",
    "PairsSimilarityDataLoader",
    "RankingSimilarityDataLoader",
    "ResponseSelectionFile",
    "SampleBatch",
    "SampleTable",
    "ShardedDataset",
    "SimilarityDataLoader",
    "SimilarityGroupDataset",
    "StreamedLogQ",
    "distill",
]
