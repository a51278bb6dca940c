"""What a user says of a model: its encoders, head and loss, and whatever else it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simlearn.cache import CacheConfig
from simlearn.evaluation import AttachedMetric
from simlearn.heads import EmptyHead, EncoderHead
from simlearn.losses import SimilarityLoss
from simlearn.models import SimilarityModel
from simlearn.negatives import CrossBatchMemory, Memory, NegativeCacheConfig, XbmConfig
from simlearn.negatives.negative_cache.memory import NegativeCacheMemory
from simlearn.scoring import DistanceScorer, Scorer
from simlearn.towers.plan import EncoderSpec, Plan, plan
from simlearn.training.trainable import Trainable


class ModelRecipe(Trainable):
    """The `configure_...` methods of `TrainableModel`, and what is built from what they return."""

    _plan: Plan

    def configure_encoders(self) -> EncoderSpec:
        """The encoders: one, a dictionary (concatenated), `Field`, `Fields` or `TwoTower(query=..., document=...)`."""
        raise NotImplementedError(f"{type(self).__name__} must define configure_encoders")

    def configure_head(self, input_embedding_size: int) -> EncoderHead:
        """The head on top of the encoders; called for each tower. Default: none (`EmptyHead`)."""
        return EmptyHead(input_embedding_size)

    def configure_query_head(self, input_embedding_size: int) -> EncoderHead:
        """The head of the query tower, where it differs. Default: `configure_head`."""
        return self.configure_head(input_embedding_size)

    def configure_document_head(self, input_embedding_size: int) -> EncoderHead:
        """The head of the document tower, where it differs. Default: `configure_head`."""
        return self.configure_head(input_embedding_size)

    def part_sizes(self, role: str) -> list[int]:
        """The embedding size of each part of a tower, in the order in which they are joined: by the parts' names.

        For heads that tell the parts apart, such as `GatedFusionHead`, once `configure_encoders` was called.
        """
        return self._plan.part_sizes(role)

    def configure_loss(self) -> SimilarityLoss:
        """The loss."""
        raise NotImplementedError(f"{type(self).__name__} must define configure_loss")

    def configure_scorer(self) -> Scorer | None:
        """How embeddings compare. Default: by the loss's distance, and by cosine where it names none."""
        return None

    def configure_caches(self) -> CacheConfig | None:
        """Which frozen encoders are cached. Default: none."""
        return None

    def configure_xbm(self) -> XbmConfig | None:
        """How batches are compared with earlier ones (cross-batch memory). Default: not at all."""
        return None

    def configure_negative_cache(self) -> NegativeCacheConfig | Mapping[str, NegativeCacheConfig] | None:
        """How many documents of earlier batches stand in the softmax of each query (negative cache). Default: none.

        Several by name, such as one a language, are drawn from as one, and none crowds out the documents of another;
        `negative_cache_of` says which of them keeps a document.
        """
        return None

    def negative_cache_of(self, document: Any) -> str:
        """The name of the negative cache that keeps a document, where there are several.

        It is asked once for each document that none of them keeps.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has several negative caches, so it must define negative_cache_of(document), which "
            "names one of them"
        )

    def configure_metrics(self) -> AttachedMetric | Sequence[AttachedMetric]:
        """Metrics of pairs or groups, logged each epoch as `<name>_train` and `<name>_validation`. Default: none."""
        return []

    def _build_loss(self) -> SimilarityLoss:
        loss: SimilarityLoss = _checked(self.configure_loss(), SimilarityLoss, "configure_loss")
        return loss

    def _build_model(self, loss: SimilarityLoss) -> SimilarityModel:
        self._plan = parts = plan(self.configure_encoders())
        sizes = {role: parts.input_size(role) for role in parts.roles}
        if parts.is_symmetric:
            heads: dict[str, EncoderHead] = {"query": self.configure_head(sizes["query"])}
        else:
            heads = {
                "query": self.configure_query_head(sizes["query"]),
                "document": self.configure_document_head(sizes["document"]),
            }
        for head in heads.values():
            _checked(head, EncoderHead, "configure_head")
        model = SimilarityModel(parts, heads, self._build_scorer(loss))
        model.card.name = type(self).__name__
        return model

    def _build_scorer(self, loss: SimilarityLoss) -> Scorer:
        scorer, distance = self.configure_scorer(), loss.distance
        if scorer is None:
            return loss.scorer()
        _checked(scorer, Scorer, "configure_scorer")
        if distance is not None and getattr(scorer, "distance", None) is not distance:
            name = scorer.distance.value if isinstance(scorer, DistanceScorer) else type(scorer).__name__
            raise ValueError(
                f"the loss compares by {distance.value}, the model's scorer by {name}; name the distance in one place"
            )
        return scorer

    def _build_memories(self, loss: SimilarityLoss) -> dict[str, Memory]:
        memories: dict[str, Memory] = {}
        xbm, cache = self.configure_xbm(), self.configure_negative_cache()
        if xbm is not None:
            memories["xbm"] = CrossBatchMemory(_checked(xbm, XbmConfig, "configure_xbm"), loss)
        if cache is not None:
            for one in cache.values() if isinstance(cache, Mapping) else [cache]:
                _checked(one, NegativeCacheConfig, "configure_negative_cache")
            size, scorer = self.model.tower("document").embedding_size, self.model.scorer
            memories["negative_cache"] = NegativeCacheMemory(cache, loss, scorer, size, self.negative_cache_of)
        return memories


def _checked(value: Any, kind: type, method: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{method} must return a {kind.__name__}, got {type(value).__name__}")
    return value
