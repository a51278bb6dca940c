"""Metrics that add up over batches and processes, for use in training; importing them loads torchmetrics."""

from simlearn.evaluation.quaterion.modules.base_metric import BaseMetric
from simlearn.evaluation.quaterion.modules.pair_scores import PairScoreMetric
from simlearn.evaluation.quaterion.modules.retrieval import (
    KNNAccuracy,
    RankingMetric,
    RetrievalMAP,
    RetrievalMAPAtR,
    RetrievalNDCG,
    RetrievalPrecision,
    RetrievalRecall,
    RetrievalReciprocalRank,
    RetrievalRPrecision,
)

__all__ = [
    "BaseMetric",
    "KNNAccuracy",
    "PairScoreMetric",
    "RankingMetric",
    "RetrievalMAP",
    "RetrievalMAPAtR",
    "RetrievalNDCG",
    "RetrievalPrecision",
    "RetrievalRPrecision",
    "RetrievalRecall",
    "RetrievalReciprocalRank",
]
