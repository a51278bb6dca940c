"""Texts as the mean of the vectors of their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simlearn.components.telling import Teller
from simlearn.encoders.encoder import CollateFn, Encoder
from simlearn.encoders.hashed_ngrams import HashedNGrams, Vectorizer
from simlearn.encoders.tables import has_sparse_gradients, start_at_random
from simlearn.encoders.tokens import Tokens


class BagOfTokensEncoder(Encoder):
    """The mean of learnt token vectors: small, fast, trained from nothing, and good at names and rare words.

    Beside a pretrained text encoder it adds what that one never saw::

        {"meaning": TextEncoder("..."), "words": BagOfTokensEncoder(HashedNGrams(), 256, norm=0.7)}

    Args:
        vectorizer: turns a text into token numbers: `HashedNGrams`, or any `Vectorizer` of yours.
        embedding_size: D.
        trainable: whether training changes the vectors.
        norm: the length that every vector is brought to, to balance it with other encoders; None leaves it. A text
            without tokens stays zero.
        sparse: whether gradients hold only the rows that a batch has touched; None: from 100,000 rows on. The default
            optimiser then trains the table with `SparseAdam`, without weight decay; an optimiser of your own must be
            one that takes sparse gradients.

    Raises:
        ValueError: for a size below 1 or a norm of 0 or less.
    """

    def __init__(
        self,
        vectorizer: Vectorizer,
        embedding_size: int,
        *,
        trainable: bool = True,
        norm: float | None = None,
        sparse: bool | None = None,
    ) -> None:
        super().__init__()
        if embedding_size < 1:
            raise ValueError(f"embedding_size must be at least 1, got {embedding_size}")
        if norm is not None and not norm > 0:
            raise ValueError(f"norm must be above 0, got {norm}")
        self.vectorizer = vectorizer
        self.norm = norm
        self._trainable = trainable
        self.sparse = has_sparse_gradients(sparse, vectorizer.buckets)
        self.table = nn.EmbeddingBag(vectorizer.buckets, embedding_size, mode="mean", sparse=self.sparse)
        start_at_random(self.table)
        self.freeze_if_required()

    @property
    def trainable(self) -> bool:
        """As given."""
        return self._trainable

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.table.embedding_dim

    def get_collate_fn(self) -> CollateFn:
        """From N texts to token numbers (L,) and where each text starts in them (N,)."""
        return _CollateTokens(self.vectorizer)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """(N, D)."""
        vectors: Tensor = self.table(batch["tokens"], batch["offsets"])
        return vectors if self.norm is None else self.norm * F.normalize(vectors, dim=1)

    @classmethod
    def from_version_1(cls, settings: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
        """The only vectorizer was `HashedNGrams`, and stood in the settings."""
        return {**settings, "vectorizer": HashedNGrams(**settings["vectorizer"])}


@dataclass(frozen=True)
class _CollateTokens:
    vectorizer: Vectorizer

    can_split: ClassVar[bool] = True

    def __call__(self, objects: list[Any]) -> dict[str, Tensor]:
        return self.pad(self.tokenize(objects))

    def tokenize(self, objects: list[Any]) -> Tokens:
        for obj in objects:
            if not isinstance(obj, str):
                cure = "Field(name, encoder) picks a field of a structured object"
                if obj is None:
                    cure = "a text that is missing is an empty one, '', or its row is left out"
                raise TypeError(f"BagOfTokensEncoder reads texts, got a {type(obj).__name__}; {cure}")
        bags = [self.vectorizer(text) for text in objects]
        counts = torch.tensor([len(bag) for bag in bags], dtype=torch.long)
        return Tokens(torch.tensor([token for bag in bags for token in bag], dtype=torch.int32)[:, None], counts)

    def pad(self, tokens: Tokens) -> dict[str, Tensor]:
        return {"tokens": tokens.values[:, 0].long(), "offsets": tokens.lengths.cumsum(0) - tokens.lengths}

    def token_settings(self) -> str:
        if type(self.vectorizer) is HashedNGrams:
            return repr(["HashedNGrams", self.vectorizer.get_config_dict()])
        return Teller().tell(self.vectorizer).hex()
