"""How good embeddings are: evaluators, reports with intervals, and metrics as pure functions.

The classes that add up over batches, for use in training, are in `simlearn.evaluation.modules`; torchmetrics is loaded
only there.
"""

from simlearn.evaluation.attached_metric import AttachedMetric
from simlearn.evaluation.base_evaluator import BaseEvaluator, evaluate
from simlearn.evaluation.comparison import Change, Comparison
from simlearn.evaluation.evaluator import Evaluator
from simlearn.evaluation.files import Judgements, read_objects, read_qrels, read_run
from simlearn.evaluation.group_evaluator import GroupEvaluator
from simlearn.evaluation.groups import ClusterAgreement, cluster_agreement, k_means, knn_accuracy
from simlearn.evaluation.pair_evaluator import PairEvaluator
from simlearn.evaluation.rankings import Qrels, Ranking
from simlearn.evaluation.registry import Figure, RetrievalMetric, metric_names, retrieval_metric, retrieval_metrics
from simlearn.evaluation.report import Estimate, EvaluationReport
from simlearn.evaluation.reranking_evaluator import RerankingEvaluator
from simlearn.evaluation.retrieval_evaluator import RetrievalEvaluator
from simlearn.evaluation.samplers import BaseSampler, GroupSampler, PairSampler

__all__ = [
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
    "PairEvaluator",
    "PairSampler",
    "Qrels",
    "Ranking",
    "RerankingEvaluator",
    "RetrievalEvaluator",
    "RetrievalMetric",
    "cluster_agreement",
    "evaluate",
    "k_means",
    "knn_accuracy",
    "metric_names",
    "read_objects",
    "read_qrels",
    "read_run",
    "retrieval_metric",
    "retrieval_metrics",
]
