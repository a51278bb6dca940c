"""How good embeddings are: metrics of rankings, pairs and groups, as pure functions.

The classes that add up over batches, for use in training, are in `simlearn.evaluation.modules`; torchmetrics is loaded
only there.
"""

from simlearn.evaluation.groups import ClusterAgreement, cluster_agreement, k_means, knn_accuracy
from simlearn.evaluation.rankings import Qrels, Ranking
from simlearn.evaluation.registry import Figure, RetrievalMetric, metric_names, retrieval_metric, retrieval_metrics

__all__ = [
    "ClusterAgreement",
    "Figure",
    "Qrels",
    "Ranking",
    "RetrievalMetric",
    "cluster_agreement",
    "k_means",
    "knn_accuracy",
    "metric_names",
    "retrieval_metric",
    "retrieval_metrics",
]
