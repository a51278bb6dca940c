"""How large a cache of tokens will become is told while it is small."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_transformer

from simlearn import (
    CacheConfig,
    PairsSimilarityDataLoader,
    SimilarityModel,
    SimilarityPairSample,
    TextEncoder,
    TransformerEncoder,
)
from simlearn.cache import EmbeddingCache, growth, reading


def fill(encoder: TextEncoder, config: CacheConfig) -> EmbeddingCache:
    samples = [SimilarityPairSample(f"red {number}", "a list of cats") for number in range(40)]
    cache = EmbeddingCache(SimilarityModel(encoder), config)
    cache.fill(PairsSimilarityDataLoader(samples, 8), None, progress=False)
    return cache


@pytest.mark.parametrize(("dtype", "itemsize"), [(None, 4), (torch.float16, 2)])
def test_it_is_told_once_and_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype | None, itemsize: int
) -> None:
    """Here of 40 texts of five tokens or six, and one that all share."""
    monkeypatch.setattr(reading, "CHUNK", 10)
    monkeypatch.setattr(growth, "LARGE", 1)
    encoder = TransformerEncoder(tiny_transformer(tmp_path / "model"))
    configs = [CacheConfig(save_dir=tmp_path / name, dtype=dtype) for name in ("one", "other")]
    with pytest.warns(UserWarning, match=r"vectors of part 'default' will take about .* GB, \d KB an object") as told:
        fill(encoder, configs[0])
    assert len(told) == 1
    counted = growth.Growth(40, dtype)
    embeddings = SimilarityModel(encoder).embed([f"red {number}" for number in range(10)])
    counted.add("default", embeddings)
    assert counted._bytes["default"] == int(embeddings.full_mask().sum()) * 32 * itemsize
    monkeypatch.setattr(growth, "LARGE", 10 * 40 * 8 * 32 * itemsize)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill(encoder, configs[1])


def test_one_vector_an_object_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LARGE", 1)
    monkeypatch.setattr(reading, "CHUNK", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fill(TextEncoder(tiny_transformer(tmp_path)), CacheConfig())
