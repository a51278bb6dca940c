"""Three models of product search: words, words in two towers, words and categories in two towers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from settings import Config, Kind, MultiModal

from simlearn import (
    BagOfTokensEncoder,
    CacheConfig,
    CategoricalEncoder,
    Field,
    Fields,
    MLPHead,
    RetrievalEvaluator,
    SimilarityLoss,
    TrainableModel,
    TwoTower,
    Vocabulary,
)

TITLE, CATEGORY = "document_name", "product_category_id"
"""The fields of a product, as `read_qdrl` names them."""


class ProductSearch(TrainableModel):
    """What the models share.

    Args:
        config: how they are built and trained.
        evaluator: run after each epoch; None for none.
    """

    def __init__(self, config: Config, evaluator: RetrievalEvaluator | None = None) -> None:
        self.config, self.settings, self.evaluator = config, config.model, evaluator
        super().__init__(learning_rate=config.learning_rate, weight_decay=config.weight_decay, warmup=config.warmup)

    def words(self) -> BagOfTokensEncoder:
        vectorizer = self.config.vectorizer.build(self.config.data.dictionary)
        return BagOfTokensEncoder(vectorizer, self.settings.embedding_size)

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        output = self.settings.output
        return MLPHead(input_embedding_size, self.settings.hidden, output, final_linear=output is not None)

    def configure_loss(self) -> SimilarityLoss:
        return self.config.loss.build()

    def configure_evaluators(self) -> Mapping[str, RetrievalEvaluator]:
        return {} if self.evaluator is None else {"search": self.evaluator}

    def configure_caches(self) -> CacheConfig | None:
        # Texts are cut into tokens once, unless each epoch has other typing errors in them.
        return None if self.config.data.typos else CacheConfig(tokens=True)


class SimpleText(ProductSearch):
    """One tower: queries and titles are read alike."""

    def configure_encoders(self) -> TwoTower:
        words = self.words()
        return TwoTower(query=words, document=Field(TITLE, words))

    @cached_property
    def head(self) -> MLPHead:
        return super().configure_head(self.settings.embedding_size)

    def configure_head(self, input_embedding_size: int) -> MLPHead:
        return self.head  # the same for both roles


class TwoTowers(ProductSearch):
    """A tower each, over one table of words."""

    def configure_encoders(self) -> TwoTower:
        words = self.words()
        return TwoTower(query=words, document=Field(TITLE, words))


class MultiModalTwoTowers(ProductSearch):
    """The category's vector stands beside that of the title."""

    settings: MultiModal

    def configure_encoders(self) -> TwoTower:
        words, own = self.words(), self.settings
        if self.config.data.categories is None:
            raise ValueError("this model reads categories: give data.category and data.categories, or model=two_tower")
        categories = CategoricalEncoder(
            Vocabulary.read(self.config.data.categories),
            own.category_size,
            oov_buckets=own.category_buckets,
            hashing=own.category_hashing,
        )
        return TwoTower(query=words, document=Fields(**{TITLE: words, CATEGORY: categories}))


MODELS = {Kind.simple_text: SimpleText, Kind.two_tower: TwoTowers, Kind.multi_modal: MultiModalTwoTowers}
