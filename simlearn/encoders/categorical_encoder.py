"""Categories as learnt vectors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from simlearn.encoders.buckets import crc32_bucket, qdrl_bucket
from simlearn.encoders.encoder import CollateFn, Encoder
from simlearn.encoders.tables import has_sparse_gradients, start_at_random
from simlearn.encoders.tokens import Tokens
from simlearn.encoders.vocabulary import Vocabulary


class CategoricalEncoder(Encoder):
    """A learnt vector for each category, such as a brand or a department.

    The text `"5"` and the numbers 5 and 5.0 are one category, as a data set and a service may disagree on the type.
    None and NaN are a category of their own. Its vector, and those of the buckets, start at zero: what training never
    met says nothing.

    Args:
        values: V categories, each once; or a `Vocabulary` of them.
        embedding_size: D.
        oov_buckets: how many vectors categories share that are not among the values; with 0 they are refused.
        trainable: whether training changes the vectors.
        sparse: whether gradients are sparse; None: from 100,000 rows on. See `BagOfTokensEncoder`.
        hashing: what picks a bucket.

    Raises:
        ValueError: for a size below 1, negative buckets, and values that repeat.
        TypeError: for values that are neither text nor number.
    """

    def __init__(
        self,
        values: Iterable[Any] | Vocabulary,
        embedding_size: int,
        *,
        oov_buckets: int = 1,
        trainable: bool = True,
        sparse: bool | None = None,
        hashing: Literal["crc32", "md5"] = "crc32",
    ) -> None:
        super().__init__()
        if embedding_size < 1 or oov_buckets < 0:
            raise ValueError(
                f"embedding_size must be at least 1 and oov_buckets 0 or more, got {embedding_size} and {oov_buckets}"
            )
        if hashing not in ("crc32", "md5"):
            raise ValueError(f"hashing must be 'crc32' or 'md5', got {hashing!r}")
        self.values = values if isinstance(values, Vocabulary) else Vocabulary(map(_required_name, values))
        self.oov_buckets = oov_buckets
        self.hashing = hashing
        self._trainable = trainable
        rows = 1 + len(self.values) + oov_buckets
        self.sparse = has_sparse_gradients(sparse, rows)
        self.table = nn.Embedding(rows, embedding_size, sparse=self.sparse)
        start_at_random(self.table)
        with torch.no_grad():
            self.table.weight[0].zero_()
            self.table.weight[1 + len(self.values) :].zero_()
        self.freeze_if_required()

    @classmethod
    def qdrl(
        cls,
        dictionary: Vocabulary | str | os.PathLike[str],
        embedding_size: int,
        *,
        num_oov_categories: int,
        **options: Any,
    ) -> CategoricalEncoder:
        """Numbers as qdrl's: its dictionary, and `num_oov_categories - 1` buckets by md5.

        Raises:
            ValueError: for fewer than 2 `num_oov_categories`.
        """
        if num_oov_categories < 2:
            raise ValueError(
                f"num_oov_categories must be at least 2, got {num_oov_categories}: qdrl has one bucket less than that "
                "number; CategoricalEncoder(oov_buckets=0) has none"
            )
        values = Vocabulary.of(dictionary)
        return cls(values, embedding_size, oov_buckets=num_oov_categories - 1, hashing="md5", **options)

    @property
    def trainable(self) -> bool:
        """As given."""
        return self._trainable

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.table.embedding_dim

    def kept_arguments(self) -> dict[str, Any]:
        """The values as a vocabulary: the constructor may have been given an iterator, which is spent."""
        return {"values": self.values}

    def get_collate_fn(self) -> CollateFn:
        """From N categories to their numbers (N,) int64: 0 for None, 1 to V, then the buckets."""
        return _CollateCategories(self.values, self.oov_buckets, self.hashing)

    def forward(self, batch: Tensor) -> Tensor:
        """(N, D)."""
        vectors: Tensor = self.table(batch)
        return vectors


def category_name(value: Any) -> str | None:
    """The text by which a category is known; None for None and NaN.

    Raises:
        TypeError: for what is neither text nor number.

    >>> category_name(5), category_name(5.0), category_name("5"), category_name(float("nan"))
    ('5', '5', '5', None)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, Integral)):
        return str(value)
    if isinstance(value, Real):
        number = float(value)
        return None if number != number else str(int(number)) if number.is_integer() else str(number)
    raise TypeError(f"a category must be a text or a number, got {value!r:.80}, a {type(value).__name__}")


def _required_name(value: Any) -> str:
    name = category_name(value)
    if name is None:
        raise ValueError(f"{value!r} needs no place among the values: it has one of its own")
    return name


@dataclass(frozen=True)
class _CollateCategories:
    values: Vocabulary
    oov_buckets: int
    hashing: str

    can_split: ClassVar[bool] = True

    def __call__(self, objects: list[Any]) -> Tensor:
        return torch.tensor(self._numbers(objects), dtype=torch.long)

    def tokenize(self, objects: list[Any]) -> Tokens:
        numbers = torch.tensor(self._numbers(objects), dtype=torch.int32)
        return Tokens(numbers[:, None], torch.ones(len(numbers), dtype=torch.long))

    def pad(self, tokens: Tokens) -> Tensor:
        return tokens.values[:, 0].long()

    def token_settings(self) -> str:
        return repr(["categories", self.values.digest, self.oov_buckets, self.hashing])

    def _numbers(self, objects: list[Any]) -> list[int]:
        known = self.values.ids.get
        return [0 if name is None else known(name) or self._bucket(name) for name in map(category_name, objects)]

    def _bucket(self, name: str) -> int:
        if not self.oov_buckets:
            raise ValueError(
                f"the category {name!r:.80} is none of the {len(self.values)} that CategoricalEncoder was given; add "
                "it, or give oov_buckets=1 for all that are not known"
            )
        first, count = 1 + len(self.values), self.oov_buckets
        return first + (qdrl_bucket(name, count + 1) if self.hashing == "md5" else crc32_bucket(name, count))
