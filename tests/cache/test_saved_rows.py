"""The rows of a data set of a known version: saved, read, and found out when the version lies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import SmallModel, numbers, pairs
from torch.utils.data import Dataset
from users import as_another_user, reachable_folder

from simlearn import (
    CacheConfig,
    PairsSimilarityDataLoader,
    RankingSimilarityDataLoader,
    SimilarityRankingSample,
)
from simlearn.cache import EmbeddingCache, saved_rows, verify
from simlearn.cache.saved_rows import SampledKeys, SavedRows
from simlearn.data import SampleTable
from simlearn.files import LoadError

OLD = Path(__file__).parents[1] / "fixtures/version1/caches/own/datasets"


def fill(config: CacheConfig, loader: Any, model: SmallModel | None = None) -> SampleTable:
    model = model or SmallModel(frozen=True, cache=config)
    table = EmbeddingCache(model.model, config).fill(loader, progress=False)
    assert table is not None
    return table


def loader(samples: Any, version: str | None = "1") -> PairsSimilarityDataLoader:
    return PairsSimilarityDataLoader(samples, batch_size=16, dataset_version=version)


@pytest.mark.parametrize("changed", [0, 63], ids=["first", "last"])
@pytest.mark.parametrize("part", ["obj_a", "obj_b"])
def test_a_version_that_stays_while_an_object_changes_is_found(tmp_path: Path, changed: int, part: str) -> None:
    config = CacheConfig(save_dir=tmp_path)
    fill(config, loader(pairs(64)))
    samples = pairs(64)
    setattr(samples[changed], part, numbers(99, 1)[0])
    with pytest.raises(
        ValueError, match=r"dataset_version '1' is not what it was .*another dataset_version.* leave it"
    ):
        fill(config, loader(samples))
    for version in ("2", None):
        fill(config, loader(samples, version))


def test_rankings_whose_numbers_of_documents_change_are_found(tmp_path: Path) -> None:
    def rankings(documents: Callable[[int], int]) -> RankingSimilarityDataLoader:
        counts = [documents(row) for row in range(20)]
        samples = [
            SimilarityRankingSample(numbers(row, 1)[0], numbers(row, count), [1.0] + [0.0] * (count - 1))
            for row, count in enumerate(counts)
        ]
        return RankingSimilarityDataLoader(samples, batch_size=4, dataset_version="1")

    config = CacheConfig(save_dir=tmp_path)
    for _ in range(2):
        fill(config, rankings(lambda row: 2 + row % 3))
    with pytest.raises(ValueError, match="dataset_version '1' is not what it was"):
        fill(config, rankings(lambda row: 2 + row % 4))


def test_a_change_between_the_samples_is_named_too(tmp_path: Path) -> None:
    config = CacheConfig(save_dir=tmp_path)
    fill(config, loader(pairs(64)))
    samples = pairs(64)
    remembered = set(SampledKeys.of(64, []).numbers.tolist())
    for row in set(range(64)) - remembered:
        samples[row].obj_a = numbers(row + 99, 1)[0]
    table = fill(config, loader(samples))
    assert table.recheck is not None
    with pytest.raises(ValueError, match="dataset_version '1' is not what it was"):
        for epoch in range(3):
            table.recheck(epoch)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64, 2**24 + 1, 10**9])
def test_the_samples_are_from_everywhere(size: int) -> None:
    found = SampledKeys.of(size, []).numbers.tolist()
    assert len(found) == len(set(found)) == min(8, size)
    assert found == sorted(found) and (found[0], found[-1]) == (0, size - 1)
    assert max((b - a for a, b in pairwise(found)), default=0) <= size // 7 + 1


def test_files_without_keys_still_load(tmp_path: Path) -> None:
    (old,) = OLD.glob("*.safetensors")
    found = SavedRows(old).read()
    assert found is not None
    labels, rows, sampled = found
    assert sampled is None and labels and all(parts for parts in rows.values())
    config = CacheConfig(save_dir=tmp_path)
    first = fill(config, loader(pairs(64)))
    (saved,) = (tmp_path / "datasets").iterdir()
    tensors = {name: tensor for name, tensor in load_file(saved).items() if not name.startswith(("key/", "samples"))}
    assert len(tensors) == len(load_file(saved)) - len({"samples", "key/query/default", "key/document/default"})
    save_file(tensors, saved, {"checksum": saved_rows._checksum(tensors)})

    class Unread(Dataset[Any]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            raise OSError("nobody should read it")

    second = fill(config, loader(Unread()))
    assert torch.equal(first.query_rows["default"], second.query_rows["default"])


def test_a_cache_that_cannot_be_written_to_is_read() -> None:
    with reachable_folder() as folder:
        config = CacheConfig(save_dir=folder / "cache")
        first = fill(config, loader(pairs(64)))
        for inner in (folder / "cache").rglob("*"):
            inner.chmod(0o555 if inner.is_dir() else 0o444)
        (folder / "cache").chmod(0o555)

        def read() -> None:
            for version in ("1", None):
                found = fill(config, loader(pairs(64), version))
                assert torch.equal(found.query_rows["default"], first.query_rows["default"])
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                fill(config, loader(pairs(64), "2"))
            with pytest.raises(PermissionError, match=rf"cannot write to {folder}/cache/vectors-.*make it writable"):
                fill(config, loader(pairs(65)))
            with pytest.raises(PermissionError, match=rf"cannot write to .*; make {folder}/cache writable"):
                fill(config, loader(pairs(64)), SmallModel(frozen=True, cache=config, seed=1))

        as_another_user(read)


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    config = CacheConfig(save_dir=tmp_path)
    fill(config, loader(pairs(64), None))
    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(UserWarning, match=r"not saved, so the next run reads it again: .*datasets/.*No space left"):
        fill(config, loader(pairs(64)))
    assert list((tmp_path / "datasets").iterdir()) == []


def test_rows_that_may_not_be_read_are_named() -> None:
    with reachable_folder() as folder:
        config = CacheConfig(save_dir=folder / "cache")
        fill(config, loader(pairs(64)))
        (saved,) = (folder / "cache/datasets").iterdir()
        saved.chmod(0o600)  # as safetensors makes it

        def read() -> None:
            with pytest.raises(LoadError, match=rf"{saved} cannot be read: Permission denied; let its owner"):
                fill(config, loader(pairs(64)))
            problems = [one.problem for one in verify(folder / "cache") if one.problem]
            assert len(problems) == 1 and "Permission denied" in problems[0]

        as_another_user(read)
