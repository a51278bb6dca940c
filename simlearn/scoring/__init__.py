"""How embeddings compare: one vector with one, many with one, many with many."""

from simlearn.scoring.base import Scorer
from simlearn.scoring.distance import CosineScorer, DistanceScorer, DotScorer
from simlearn.scoring.max_sim import MaxSim
from simlearn.scoring.poly_attention import PolyAttention

__all__ = ["CosineScorer", "DistanceScorer", "DotScorer", "MaxSim", "PolyAttention", "Scorer"]
