"""How wrong the embeddings are."""

from simlearn.losses.angle_loss import AnglELoss
from simlearn.losses.arc_face_loss import ArcFaceLoss
from simlearn.losses.center_loss import CenterLoss
from simlearn.losses.centroid_triplet_loss import CentroidTripletLoss
from simlearn.losses.circle_loss import CircleLoss
from simlearn.losses.class_loss import ClassLoss
from simlearn.losses.contrastive_loss import ContrastiveLoss
from simlearn.losses.cos_face_loss import CosFaceLoss
from simlearn.losses.cosent_loss import CoSENTLoss
from simlearn.losses.fast_ap_loss import FastAPLoss
from simlearn.losses.forward_losses import GroupLoss, PairwiseLoss
from simlearn.losses.infonce_loss import InfoNCELoss
from simlearn.losses.kl_distillation_loss import KLDistillationLoss
from simlearn.losses.listwise_softmax_loss import ListwiseSoftmaxLoss
from simlearn.losses.loss_result import LossResult
from simlearn.losses.margin_mse_loss import MarginMSELoss
from simlearn.losses.mask_loss import MaskLoss
from simlearn.losses.matryoshka_loss import MatryoshkaLoss
from simlearn.losses.multi_similarity_loss import MultiSimilarityLoss
from simlearn.losses.multiple_negatives_ranking_loss import MultipleNegativesRankingLoss
from simlearn.losses.n_pair_loss import NPairLoss
from simlearn.losses.online_contrastive_loss import OnlineContrastiveLoss
from simlearn.losses.pairwise_margin_ranking_loss import PairwiseMarginRankingLoss
from simlearn.losses.proxy_anchor_loss import ProxyAnchorLoss
from simlearn.losses.pytorch_metric_learning_wrapper import PytorchMetricLearningWrapper
from simlearn.losses.sampled_softmax_loss import SampledSoftmaxLoss
from simlearn.losses.sigmoid_loss import SigmoidLoss
from simlearn.losses.similarity_loss import SimilarityLoss
from simlearn.losses.softmax_loss import SoftmaxLoss
from simlearn.losses.sum_loss import SumLoss
from simlearn.losses.triplet_loss import TripletLoss
from simlearn.losses.verification import verify_distributed

__all__ = [
    "AnglELoss",
    "ArcFaceLoss",
    "CenterLoss",
    "CentroidTripletLoss",
    "CircleLoss",
    "ClassLoss",
    "CoSENTLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "FastAPLoss",
    "GroupLoss",
    "InfoNCELoss",
    "KLDistillationLoss",
    "ListwiseSoftmaxLoss",
    "LossResult",
    "MarginMSELoss",
    "MaskLoss",
    "MatryoshkaLoss",
    "MultiSimilarityLoss",
    "MultipleNegativesRankingLoss",
    "NPairLoss",
    "OnlineContrastiveLoss",
    "PairwiseLoss",
    "PairwiseMarginRankingLoss",
    "ProxyAnchorLoss",
    "PytorchMetricLearningWrapper",
    "SampledSoftmaxLoss",
    "SigmoidLoss",
    "SimilarityLoss",
    "SoftmaxLoss",
    "SumLoss",
    "TripletLoss",
    "verify_distributed",
]
