"""Similarity learning on torch and Lightning: train an embedding model here, serve it anywhere.

The public names are loaded when they are first used, so that `import simlearn` costs nothing and a service that only
loads a servable never imports Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simlearn.cache import CacheConfig, CacheType
    from simlearn.data import (
        GroupBatchSampler,
        GroupSimilarityDataLoader,
        LabelSimilarityDataLoader,
        PairsSimilarityDataLoader,
        RankingSimilarityDataLoader,
        SimilarityDataLoader,
        SimilarityGroupDataset,
    )
    from simlearn.distances import Distance
    from simlearn.embeddings import Embeddings
    from simlearn.encoders import (
        BagOfTokensEncoder,
        Encoder,
        FasttextEncoder,
        Field,
        Fields,
        HashedNGrams,
        ImageEncoder,
        SwitchEncoder,
        TextEncoder,
        TwoTower,
    )
    from simlearn.evaluation.modules import (
        BaseMetric,
        RetrievalPrecision,
        RetrievalReciprocalRank,
        RetrievalRPrecision,
    )
    from simlearn.heads import (
        EmptyHead,
        EncoderHead,
        GatedHead,
        MLPHead,
        SequentialHead,
        SkipConnectionHead,
        SoftmaxEmbeddingsHead,
        StackedProjectionHead,
        SwitchHead,
        WideningHead,
    )
    from simlearn.losses import (
        AnglELoss,
        ArcFaceLoss,
        CenterLoss,
        CentroidTripletLoss,
        CircleLoss,
        ContrastiveLoss,
        CoSENTLoss,
        CosFaceLoss,
        FastAPLoss,
        GroupLoss,
        InfoNCELoss,
        KLDistillationLoss,
        ListwiseSoftmaxLoss,
        MarginMSELoss,
        MatryoshkaLoss,
        MultipleNegativesRankingLoss,
        MultiSimilarityLoss,
        NPairLoss,
        OnlineContrastiveLoss,
        PairwiseLoss,
        PairwiseMarginRankingLoss,
        ProxyAnchorLoss,
        PytorchMetricLearningWrapper,
        SampledSoftmaxLoss,
        SigmoidLoss,
        SimilarityLoss,
        SoftmaxLoss,
        SumLoss,
        TripletLoss,
        verify_distributed,
    )
    from simlearn.models import EncodedObjects, MetricModel, SimilarityModel
    from simlearn.negatives import XbmConfig, XbmDevice
    from simlearn.persistence import LoadError, UntrustedError
    from simlearn.relations import Relation
    from simlearn.samples import (
        SimilarityGroupSample,
        SimilarityLabelSample,
        SimilarityPairSample,
        SimilarityRankingSample,
        SimilaritySample,
    )
    from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, Scorer
    from simlearn.training import TrainableModel, TrainStage, fit, trainer_defaults

_ROOMS = {
    "cache": "CacheConfig CacheType",
    "data": (
        "GroupBatchSampler GroupSimilarityDataLoader LabelSimilarityDataLoader PairsSimilarityDataLoader "
        "RankingSimilarityDataLoader SimilarityDataLoader SimilarityGroupDataset"
    ),
    "distances": "Distance",
    "embeddings": "Embeddings",
    "encoders": (
        "BagOfTokensEncoder Encoder FasttextEncoder Field Fields HashedNGrams ImageEncoder SwitchEncoder "
        "TextEncoder TwoTower"
    ),
    "evaluation.modules": "BaseMetric RetrievalPrecision RetrievalRPrecision RetrievalReciprocalRank",
    "heads": (
        "EmptyHead EncoderHead GatedHead MLPHead SequentialHead SkipConnectionHead SoftmaxEmbeddingsHead "
        "StackedProjectionHead SwitchHead WideningHead"
    ),
    "losses": (
        "AnglELoss ArcFaceLoss CenterLoss CentroidTripletLoss CircleLoss CoSENTLoss ContrastiveLoss CosFaceLoss "
        "FastAPLoss GroupLoss InfoNCELoss KLDistillationLoss ListwiseSoftmaxLoss MarginMSELoss MatryoshkaLoss "
        "MultiSimilarityLoss MultipleNegativesRankingLoss NPairLoss OnlineContrastiveLoss PairwiseLoss "
        "PairwiseMarginRankingLoss ProxyAnchorLoss PytorchMetricLearningWrapper SampledSoftmaxLoss SigmoidLoss "
        "SimilarityLoss SoftmaxLoss SumLoss TripletLoss verify_distributed"
    ),
    "models": "EncodedObjects MetricModel SimilarityModel",
    "negatives": "XbmConfig XbmDevice",
    "persistence": "LoadError UntrustedError",
    "relations": "Relation",
    "samples": (
        "SimilarityGroupSample SimilarityLabelSample SimilarityPairSample SimilarityRankingSample SimilaritySample"
    ),
    "scoring": "CosineScorer DistanceScorer DotScorer Scorer",
    "training": "TrainStage TrainableModel fit trainer_defaults",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = [
    "AnglELoss",
    "ArcFaceLoss",
    "BagOfTokensEncoder",
    "BaseMetric",
    "CacheConfig",
    "CacheType",
    "CenterLoss",
    "CentroidTripletLoss",
    "CircleLoss",
    "CoSENTLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CosineScorer",
    "Distance",
    "DistanceScorer",
    "DotScorer",
    "Embeddings",
    "EmptyHead",
    "EncodedObjects",
    "Encoder",
    "EncoderHead",
    "FastAPLoss",
    "FasttextEncoder",
    "Field",
    "Fields",
    "GatedHead",
    "GroupBatchSampler",
    "GroupLoss",
    "GroupSimilarityDataLoader",
    "HashedNGrams",
    "ImageEncoder",
    "InfoNCELoss",
    "KLDistillationLoss",
    "LabelSimilarityDataLoader",
    "ListwiseSoftmaxLoss",
    "LoadError",
    "MLPHead",
    "MarginMSELoss",
    "MatryoshkaLoss",
    "MetricModel",
    "MultiSimilarityLoss",
    "MultipleNegativesRankingLoss",
    "NPairLoss",
    "OnlineContrastiveLoss",
    "PairsSimilarityDataLoader",
    "PairwiseLoss",
    "PairwiseMarginRankingLoss",
    "ProxyAnchorLoss",
    "PytorchMetricLearningWrapper",
    "RankingSimilarityDataLoader",
    "Relation",
    "RetrievalPrecision",
    "RetrievalRPrecision",
    "RetrievalReciprocalRank",
    "SampledSoftmaxLoss",
    "Scorer",
    "SequentialHead",
    "SigmoidLoss",
    "SimilarityDataLoader",
    "SimilarityGroupDataset",
    "SimilarityGroupSample",
    "SimilarityLabelSample",
    "SimilarityLoss",
    "SimilarityModel",
    "SimilarityPairSample",
    "SimilarityRankingSample",
    "SimilaritySample",
    "SkipConnectionHead",
    "SoftmaxEmbeddingsHead",
    "SoftmaxLoss",
    "StackedProjectionHead",
    "SumLoss",
    "SwitchEncoder",
    "SwitchHead",
    "TextEncoder",
    "TrainStage",
    "TrainableModel",
    "TripletLoss",
    "TwoTower",
    "UntrustedError",
    "WideningHead",
    "XbmConfig",
    "XbmDevice",
    "fit",
    "trainer_defaults",
    "verify_distributed",
]

if not TYPE_CHECKING:  # a type checker that saw this would take every misspelt name for a valid one

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'simlearn' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"simlearn.{_HOME[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(__all__)
