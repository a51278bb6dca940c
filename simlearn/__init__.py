"""Similarity learning on torch and Lightning: train an embedding model here, serve it anywhere.

The public names are loaded when they are first used, so that `import simlearn` costs nothing and a service that only
loads a servable never imports Lightning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simlearn.cache import CacheConfig, CacheType
    from simlearn.data import (
        DataReport,
        GroupBatchSampler,
        GroupSimilarityDataLoader,
        LabelSimilarityDataLoader,
        PairsSimilarityDataLoader,
        RankingSimilarityDataLoader,
        SimilarityDataLoader,
        SimilarityGroupDataset,
        examine,
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
    from simlearn.evaluation import (
        AttachedMetric,
        EvaluationReport,
        Evaluator,
        GroupEvaluator,
        GroupSampler,
        PairEvaluator,
        PairSampler,
        RerankingEvaluator,
        RetrievalEvaluator,
        evaluate,
    )
    from simlearn.evaluation.health import (
        Health,
    )
    from simlearn.evaluation.look import (
        Look,
        export_projector,
        look_at,
    )
    from simlearn.evaluation.modules import (
        BaseMetric,
        RetrievalPrecision,
        RetrievalReciprocalRank,
        RetrievalRPrecision,
    )
    from simlearn.files import LoadError, UntrustedError
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
    from simlearn.negatives import (
        HardNegatives,
        MiningConfig,
        XbmConfig,
        XbmDevice,
        mine_hard_negatives,
    )
    from simlearn.relations import Relation
    from simlearn.samples import (
        SimilarityGroupSample,
        SimilarityLabelSample,
        SimilarityPairSample,
        SimilarityRankingSample,
        SimilaritySample,
    )
    from simlearn.scoring import CosineScorer, DistanceScorer, DotScorer, Scorer
    from simlearn.training import (
        RefreshNegatives,
        SpaceHealth,
        TrainableModel,
        TrainStage,
        fit,
        trainer_defaults,
    )

_ROOMS = {
    "cache": "CacheConfig CacheType",
    "data": (
        "DataReport GroupBatchSampler GroupSimilarityDataLoader LabelSimilarityDataLoader PairsSimilarityDataLoader "
        "RankingSimilarityDataLoader SimilarityDataLoader SimilarityGroupDataset examine"
    ),
    "distances": "Distance",
    "embeddings": "Embeddings",
    "encoders": (
        "BagOfTokensEncoder Encoder FasttextEncoder Field Fields HashedNGrams ImageEncoder SwitchEncoder "
        "TextEncoder TwoTower"
    ),
    "evaluation": (
        "AttachedMetric EvaluationReport Evaluator GroupEvaluator GroupSampler PairEvaluator PairSampler "
        "RerankingEvaluator RetrievalEvaluator evaluate"
    ),
    "evaluation.health": "Health",
    "evaluation.look": "Look export_projector look_at",
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
    "negatives": "HardNegatives MiningConfig XbmConfig XbmDevice mine_hard_negatives",
    "files": "LoadError UntrustedError",
    "relations": "Relation",
    "samples": (
        "SimilarityGroupSample SimilarityLabelSample SimilarityPairSample SimilarityRankingSample SimilaritySample"
    ),
    "scoring": "CosineScorer DistanceScorer DotScorer Scorer",
    "training": "RefreshNegatives SpaceHealth TrainStage TrainableModel fit trainer_defaults",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__version__ = "0.1.0"
__all__ = [
    "AnglELoss",
    "ArcFaceLoss",
    "AttachedMetric",
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
    "DataReport",
    "Distance",
    "DistanceScorer",
    "DotScorer",
    "Embeddings",
    "EmptyHead",
    "EncodedObjects",
    "Encoder",
    "EncoderHead",
    "EvaluationReport",
    "Evaluator",
    "FastAPLoss",
    "FasttextEncoder",
    "Field",
    "Fields",
    "GatedHead",
    "GroupBatchSampler",
    "GroupEvaluator",
    "GroupLoss",
    "GroupSampler",
    "GroupSimilarityDataLoader",
    "HardNegatives",
    "HashedNGrams",
    "Health",
    "ImageEncoder",
    "InfoNCELoss",
    "KLDistillationLoss",
    "LabelSimilarityDataLoader",
    "ListwiseSoftmaxLoss",
    "LoadError",
    "Look",
    "MLPHead",
    "MarginMSELoss",
    "MatryoshkaLoss",
    "MetricModel",
    "MiningConfig",
    "MultiSimilarityLoss",
    "MultipleNegativesRankingLoss",
    "NPairLoss",
    "OnlineContrastiveLoss",
    "PairEvaluator",
    "PairSampler",
    "PairsSimilarityDataLoader",
    "PairwiseLoss",
    "PairwiseMarginRankingLoss",
    "ProxyAnchorLoss",
    "PytorchMetricLearningWrapper",
    "RankingSimilarityDataLoader",
    "RefreshNegatives",
    "Relation",
    "RerankingEvaluator",
    "RetrievalEvaluator",
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
    "SpaceHealth",
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
    "evaluate",
    "examine",
    "export_projector",
    "fit",
    "look_at",
    "mine_hard_negatives",
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
