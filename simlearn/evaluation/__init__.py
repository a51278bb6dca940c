"""How good embeddings are: evaluators, reports with intervals, and metrics as pure functions.

Quaterion's metric objects, which add up over batches, are in `simlearn.evaluation.quaterion.modules`; torchmetrics is
loaded only there.
"""

from simlearn.evaluation.base_evaluator import BaseEvaluator, evaluate
from simlearn.evaluation.groups.agreement import ClusterAgreement, cluster_agreement, k_means, knn_accuracy
from simlearn.evaluation.groups.group_evaluator import GroupEvaluator
from simlearn.evaluation.pairs.pair_evaluator import PairEvaluator
from simlearn.evaluation.quaterion.attached_metric import AttachedMetric
from simlearn.evaluation.quaterion.evaluator import Evaluator
from simlearn.evaluation.quaterion.samplers import BaseSampler, GroupSampler, PairSampler
from simlearn.evaluation.rankings.bm25 import BM25
from simlearn.evaluation.rankings.files import Judgements, read_objects, read_qrels, read_run
from simlearn.evaluation.rankings.qdrl_files import QdrlData, read_qdrl
from simlearn.evaluation.rankings.ranking import Qrels, Ranking
from simlearn.evaluation.rankings.registry import (
    Figure,
    RetrievalMetric,
    metric_names,
    retrieval_metric,
    retrieval_metrics,
)
from simlearn.evaluation.rankings.reranking_evaluator import RerankingEvaluator
from simlearn.evaluation.rankings.retrieval_evaluator import RetrievalEvaluator
from simlearn.evaluation.reports.comparison import Change, Comparison
from simlearn.evaluation.reports.projector import export_projector
from simlearn.evaluation.reports.report import Estimate, EvaluationReport
from simlearn.evaluation.statistics.statistic import MeanStatistic, Statistic

__all__ = [
    "BM25",
    "AttachedMetric",
    "BaseEvaluator",
    "BaseSampler",
    "Change",
    "ClusterAgreement",
    "Comparison",
    "Estimate",
    "EvaluationReport",
    "Evaluator",
    "Figure",
    "GroupEvaluator",
    "GroupSampler",
    "Judgements",
    "MeanStatistic",
    "PairEvaluator",
    "PairSampler",
    "QdrlData",
    "Qrels",
    "Ranking",
    "RerankingEvaluator",
    "RetrievalEvaluator",
    "RetrievalMetric",
    "Statistic",
    "cluster_agreement",
    "evaluate",
    "export_projector",
    "k_means",
    "knn_accuracy",
    "metric_names",
    "read_objects",
    "read_qdrl",
    "read_qrels",
    "read_run",
    "retrieval_metric",
    "retrieval_metrics",
]
