"""Poolings: heads that make of an object's many vectors one, or others."""

from simlearn.heads.pooling.learnt_codes import AttentionPooling, LearntCodes
from simlearn.heads.pooling.pooling import Pooling
from simlearn.heads.pooling.simple import CLSPooling, FirstM, LastTokenPooling, MaxPooling, MeanPooling
from simlearn.heads.pooling.token_projection import TokenProjection

__all__ = [
    "AttentionPooling",
    "CLSPooling",
    "FirstM",
    "LastTokenPooling",
    "LearntCodes",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "TokenProjection",
]
