"""The models that are trained and served."""

from simlearn.models.encoded_objects import EncodedObjects
from simlearn.models.model_card import ModelCard
from simlearn.models.similarity_model import MetricModel, SimilarityModel
from simlearn.models.tower import KnownVectors, Tower

__all__ = ["EncodedObjects", "KnownVectors", "MetricModel", "ModelCard", "SimilarityModel", "Tower"]
