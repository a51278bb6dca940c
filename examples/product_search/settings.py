"""What can be set: the types of `conf/*.yaml`, where the values are, so that a key that is none is an error."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from simlearn import (
    MultipleNegativesRankingLoss,
    NGramVectorizer,
    QdrlVectorizer,
    SimilarityLoss,
    TripletLoss,
    Vocabulary,
)


class Kind(Enum):
    """The models there are."""

    simple_text = "simple_text"
    two_tower = "two_tower"
    multi_modal = "multi_modal"


@dataclass
class Model:
    """A model that reads texts: vectors of tokens, and an MLP over their mean."""

    kind: Kind
    embedding_size: int
    hidden: list[int]
    output: int | None
    """The size of the last linear layer; null for none: the last hidden layer is the embedding."""


@dataclass
class MultiModal(Model):
    """One that reads categories, too."""

    category_size: int
    category_buckets: int
    category_hashing: str


@dataclass
class Loss:
    """A loss."""

    def build(self) -> SimilarityLoss:
        """The loss itself."""
        raise NotImplementedError


@dataclass
class Softmax(Loss):
    """In-batch softmax over cosines."""

    temperature: float
    log_q: bool
    """Whether popular products, which are negatives more often, are corrected for."""
    symmetric: bool

    def build(self) -> MultipleNegativesRankingLoss:
        return MultipleNegativesRankingLoss(1 / self.temperature, symmetric=self.symmetric, log_q=self.log_q)


@dataclass
class Triplet(Loss):
    """Triplets over 1 - cosine."""

    margin: float
    mining: str
    average: str
    num_negatives: int | None

    def build(self) -> TripletLoss:
        mining: Any = self.mining
        average: Any = self.average
        return TripletLoss(self.margin, mining=mining, average=average, num_negatives=self.num_negatives)


@dataclass
class Vectorizer:
    """From texts to tokens."""

    def build(self, dictionary: str) -> NGramVectorizer | QdrlVectorizer:
        """The vectorizer over the dictionary in a folder."""
        raise NotImplementedError


@dataclass
class NGrams(Vectorizer):
    """`NGramVectorizer`: words of the dictionary, n-grams of characters in buckets."""

    words: bool
    word_pairs: bool
    characters: list[int]
    oov_buckets: int

    def build(self, dictionary: str) -> NGramVectorizer:
        return NGramVectorizer(Vocabulary.read(dictionary), **vars(self))


@dataclass
class Qdrl(Vectorizer):
    """`QdrlVectorizer`: as qdrl numbers tokens."""

    word_unigrams_limit: int
    word_bigrams_limit: int
    char_trigrams_limit: int
    num_oov_tokens: int

    def build(self, dictionary: str) -> QdrlVectorizer:
        return NGramVectorizer.qdrl(dictionary, **vars(self))


@dataclass
class Data:
    """Where the files are, and what their columns are called."""

    folder: str
    dictionary: str
    categories: str | None
    query: str
    title: str
    category: str | None
    product: str | None
    """The column with a product's id; null tells products by their content."""
    typos: float
    """The probability of a typing error in a word of a training query."""
    batch_size: int
    workers: int


@dataclass
class Evaluation:
    """What is measured after each epoch."""

    enabled: bool
    k: list[int]
    typos: list[float]


@dataclass
class Config:
    """Everything."""

    run: str | None
    init_from: str | None
    seed: int
    commit_hash: str | None
    num_epochs: int
    learning_rate: float
    weight_decay: float
    warmup: int
    monitor: str
    patience: int
    model: Model
    loss: Loss
    data: Data
    vectorizer: Vectorizer
    evaluation: Evaluation


GROUPS: dict[str, list[type]] = {"model": [Model, MultiModal], "loss": [Softmax, Triplet], "vectorizer": [NGrams, Qdrl]}
"""The types that the files of a group may have."""


def register() -> None:
    """Make the types known to Hydra: each group's YAML names its own as `/schema/<group>@_here_`."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for group, kinds in GROUPS.items():
        for kind in kinds:
            store.store(group=f"schema/{group}", name=kind.__name__, node=kind)


def typed(config: Any) -> Config:
    """What Hydra composed, as dataclasses."""
    return cast(Config, OmegaConf.to_object(config))


def read(path: Path) -> Config:
    """The config of a run, as `train.py` wrote it: a group's type is the one that has its keys.

    Raises:
        FileNotFoundError: where there is no run.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; name the folder of a run that train.py wrote")
    plain: Any = OmegaConf.load(path)
    schema: Any = OmegaConf.structured(Config)
    for group, kinds in GROUPS.items():
        kind = next(kind for kind in kinds if {field.name for field in fields(kind)} == set(plain[group]))
        schema[group] = OmegaConf.structured(kind)
    return typed(OmegaConf.merge(schema, plain))
