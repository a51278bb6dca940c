"""Training: the only room that knows Lightning."""

from simlearn.training.callbacks import BestWeights, FitProgressBar
from simlearn.training.embedding_projector import EmbeddingProjector
from simlearn.training.fitting import fit, trainer_defaults
from simlearn.training.negative_cache_health import NegativeCacheHealth
from simlearn.training.ready_made import BiEncoder, LateInteraction, PolyEncoder
from simlearn.training.refreshed_negatives import RefreshNegatives
from simlearn.training.space_health import SpaceHealth
from simlearn.training.stage import TrainStage
from simlearn.training.trainable import Trainable
from simlearn.training.trainable_model import TrainableModel

__all__ = [
    "BestWeights",
    "BiEncoder",
    "EmbeddingProjector",
    "FitProgressBar",
    "LateInteraction",
    "NegativeCacheHealth",
    "PolyEncoder",
    "RefreshNegatives",
    "SpaceHealth",
    "TrainStage",
    "Trainable",
    "TrainableModel",
    "fit",
    "trainer_defaults",
]
