"""How wrong the embeddings are."""

from simlearn.losses.angle_loss import AnglELoss
from simlearn.losses.class_loss import ClassLoss
from simlearn.losses.contrastive_loss import ContrastiveLoss
from simlearn.losses.cosent_loss import CoSENTLoss
from simlearn.losses.kl_distillation_loss import KLDistillationLoss
from simlearn.losses.listwise_softmax_loss import ListwiseSoftmaxLoss
from simlearn.losses.margin_mse_loss import MarginMSELoss
from simlearn.losses.multiple_negatives_ranking_loss import MultipleNegativesRankingLoss
from simlearn.losses.pairwise_margin_ranking_loss import PairwiseMarginRankingLoss
from simlearn.losses.similarity_loss import GroupLoss, LossResult, PairwiseLoss, SimilarityLoss
from simlearn.losses.softmax_loss import SoftmaxLoss
from simlearn.losses.triplet_loss import TripletLoss

__all__ = [
    "AnglELoss",
    "ClassLoss",
    "CoSENTLoss",
    "ContrastiveLoss",
    "GroupLoss",
    "KLDistillationLoss",
    "ListwiseSoftmaxLoss",
    "LossResult",
    "MarginMSELoss",
    "MultipleNegativesRankingLoss",
    "PairwiseLoss",
    "PairwiseMarginRankingLoss",
    "SimilarityLoss",
    "SoftmaxLoss",
    "TripletLoss",
]
