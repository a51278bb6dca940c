from __future__ import annotations

import pytest

from simlearn import CacheConfig, CacheType


def test_a_mapping_goes_before_the_type_for_all() -> None:
    config = CacheConfig(CacheType.CPU, mapping={"a": CacheType.NONE})
    assert config.type_of("a") is CacheType.NONE
    assert config.type_of("b") is CacheType.CPU


def test_types_may_be_named() -> None:
    assert CacheConfig("cpu", mapping={"a": "none"}).type_of("a") is CacheType.NONE  # type: ignore[arg-type, dict-item]
    with pytest.raises(ValueError, match="'disk' is not a valid CacheType"):
        CacheConfig("disk").type_of("a")  # type: ignore[arg-type]


def test_key_extractors_are_for_all_or_by_name() -> None:
    assert CacheConfig(key_extractors=len).key_extractor("a") is len
    by_name = CacheConfig(key_extractors={"a": len})
    assert by_name.key_extractor("a") is len
    assert by_name.key_extractor("b") is None


def test_a_batch_has_at_least_one_object() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        CacheConfig(batch_size=0)
