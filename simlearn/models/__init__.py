"""The models that are trained and served."""

from simlearn.models.encoded_objects import EncodedObjects
from simlearn.models.model_card import ModelCard
from simlearn.models.similarity_model import MetricModel, SimilarityModel

__all__ = ["EncodedObjects", "MetricModel", "ModelCard", "SimilarityModel"]
