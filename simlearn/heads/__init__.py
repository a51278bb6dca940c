"""From the encoders' embeddings to the embedding that is compared."""

from simlearn.heads.empty_head import EmptyHead
from simlearn.heads.encoder_head import EncoderHead
from simlearn.heads.gated_fusion_head import GatedFusionHead
from simlearn.heads.gated_head import GatedHead
from simlearn.heads.mlp_head import MLPHead
from simlearn.heads.pooling import (
    AttentionPooling,
    CLSPooling,
    FirstM,
    LastTokenPooling,
    LearntCodes,
    MaxPooling,
    MeanPooling,
    Pooling,
    TokenProjection,
)
from simlearn.heads.sequential_head import SequentialHead
from simlearn.heads.skip_connection_head import SkipConnectionHead
from simlearn.heads.softmax_embeddings_head import SoftmaxEmbeddingsHead
from simlearn.heads.stacked_projection_head import StackedProjectionHead
from simlearn.heads.switch_head import SwitchHead
from simlearn.heads.widening_head import WideningHead

__all__ = [
    "AttentionPooling",
    "CLSPooling",
    "EmptyHead",
    "EncoderHead",
    "FirstM",
    "GatedFusionHead",
    "GatedHead",
    "LastTokenPooling",
    "LearntCodes",
    "MLPHead",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "SequentialHead",
    "SkipConnectionHead",
    "SoftmaxEmbeddingsHead",
    "StackedProjectionHead",
    "SwitchHead",
    "TokenProjection",
    "WideningHead",
]
