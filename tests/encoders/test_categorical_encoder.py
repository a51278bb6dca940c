from __future__ import annotations

import math
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from simlearn import CategoricalEncoder, Vocabulary
from simlearn.encoders.tokens import tokenising


def numbers(encoder: CategoricalEncoder, *values: Any) -> list[int]:
    found: list[int] = encoder.get_collate_fn()(list(values)).tolist()
    return found


def test_a_text_and_a_number_of_one_value_agree() -> None:
    encoder = CategoricalEncoder([5, "spoons", "7", True], 4)
    assert numbers(encoder, 5, "5", 5.0, np.int64(5), np.float32(5)) == [1] * 5
    assert numbers(encoder, "spoons", 7, "True") == [2, 3, 4]
    assert numbers(encoder, None, math.nan, np.nan) == [0, 0, 0]


def test_buckets_are_all_used_and_start_at_zero() -> None:
    encoder = CategoricalEncoder(["a"], 4, oov_buckets=3)
    found = numbers(encoder, *map(str, range(50)))
    assert set(found) == {2, 3, 4}
    assert numbers(CategoricalEncoder(["a"], 4, oov_buckets=1), "x", "y") == [2, 2]
    assert not encoder(torch.tensor([0, 2, 3, 4])).any() and encoder(torch.tensor([1])).all()


def test_a_category_that_is_not_known_is_refused_without_buckets() -> None:
    with pytest.raises(ValueError, match="'b' is none of the 1 .* oov_buckets=1"):
        numbers(CategoricalEncoder(["a"], 4, oov_buckets=0), "b")


def test_qdrl_numbers(tmp_path: Path) -> None:
    Vocabulary(["1234", "5"]).write(tmp_path, "value")
    encoder = CategoricalEncoder.qdrl(tmp_path, 4, num_oov_categories=24)
    digest = int(md5(b"99").hexdigest(), 16)
    assert numbers(encoder, 1234, "5", "99") == [1, 2, digest % 23 + 2 + 1]
    assert encoder.table.num_embeddings == 2 + 24
    with pytest.raises(ValueError, match="one bucket less"):
        CategoricalEncoder.qdrl(tmp_path, 4, num_oov_categories=1)


def test_kept_as_tokens() -> None:
    encoder = CategoricalEncoder(["a", "b"], 4)
    split = tokenising(encoder.get_collate_fn())
    assert split is not None
    tokens = split.tokenize(["b", None, "a"])
    assert tokens.lengths.tolist() == [1, 1, 1]
    assert split.pad(tokens.take(torch.tensor([2, 0]))).tolist() == [1, 2]
    other = tokenising(CategoricalEncoder(["b", "a"], 4).get_collate_fn())
    assert other is not None and other.token_settings() != split.token_settings()
    assert split.pad(split.tokenize([])).shape == (0,)


def test_sparse_from_a_hundred_thousand_rows_on() -> None:
    assert not CategoricalEncoder(["a"], 1).sparse
    assert CategoricalEncoder(["a"], 1, oov_buckets=100_000).sparse
    assert CategoricalEncoder(["a"], 1, sparse=True).table.sparse


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["a", "a"], {}, "more than once"),
        ([5, "5"], {}, "more than once"),
        ([None], {}, "None needs no place"),
        ([["a"]], {}, "must be a text or a number"),
        (["a"], {"oov_buckets": -1}, "0 or more"),
        (["a"], {"embedding_size": 0}, "at least 1"),
        (["a"], {"hashing": "sha"}, "hashing must be"),
    ],
)
def test_bad_options(values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        CategoricalEncoder(values, **{"embedding_size": 2, **options})
