"""Training: the only room that knows Lightning."""

from simlearn.training.callbacks import BestWeights, FitProgressBar
from simlearn.training.fitting import fit, trainer_defaults
from simlearn.training.stage import TrainStage
from simlearn.training.trainable_model import TrainableModel

__all__ = ["BestWeights", "FitProgressBar", "TrainStage", "TrainableModel", "fit", "trainer_defaults"]
