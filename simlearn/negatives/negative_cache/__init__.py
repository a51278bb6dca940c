"""A softmax over many documents, most of them encoded some steps ago (Lindgren et al. 2021)."""

from simlearn.negatives.negative_cache.cache import NegativeCache
from simlearn.negatives.negative_cache.config import NegativeCacheConfig
from simlearn.negatives.negative_cache.kept_features import KeptFeatures
from simlearn.negatives.negative_cache.together import Drawn, EncodeAgain

__all__ = ["Drawn", "EncodeAgain", "KeptFeatures", "NegativeCache", "NegativeCacheConfig"]
