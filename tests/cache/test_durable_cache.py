"""A cache that outlives the run: on disk, shared by processes, never stale."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from processes import forked, kill_when
from small_models import NumbersEncoder, SmallModel, groups, pairs, weights
from torch.utils.data import Dataset

from simlearn import CacheConfig, CacheType, GroupSimilarityDataLoader, PairsSimilarityDataLoader, TripletLoss, fit
from simlearn.cache import EmbeddingCache
from simlearn.store import DiskTable
from simlearn.towers.inputs import CachedRows


def trainer(processes: int = 1) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def train(cache: CacheConfig | None, loader: Any = None, processes: int = 1, **options: Any) -> SmallModel:
    model = SmallModel(frozen=True, cache=cache, **options)
    fit(model, loader or PairsSimilarityDataLoader(pairs(64), batch_size=16), trainer=trainer(processes))
    return model


def encoded(model: SmallModel) -> int:
    count = model.model.encoders["default"].encoded
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("kind", [CacheType.AUTO, CacheType.CPU, CacheType.MMAP])
def test_the_second_run_encodes_nothing_and_trains_alike(kind: CacheType, tmp_path: Path) -> None:
    config = CacheConfig(kind, save_dir=tmp_path)
    plain, first, second = train(None), train(config), train(config)
    assert (encoded(first), encoded(second)) == (128, 0)
    for name, expected in weights(first).items():
        assert torch.equal(weights(second)[name], expected), name
        torch.testing.assert_close(weights(plain)[name], expected, rtol=1e-4, atol=1e-6)


def test_only_what_is_new_is_encoded(tmp_path: Path) -> None:
    config = CacheConfig(save_dir=tmp_path)
    train(config)
    more = pairs(64) + pairs(8, seed=5)
    assert encoded(train(config, PairsSimilarityDataLoader(more, batch_size=16))) == 16
    in_groups = GroupSimilarityDataLoader(groups(64, seed=20), batch_size=16, samples_per_group=4)
    assert encoded(train(config, in_groups, loss=TripletLoss())) == 64
    assert encoded(train(config, in_groups, loss=TripletLoss())) == 0


def test_another_encoder_is_served_nothing_of_the_first(tmp_path: Path) -> None:
    config = CacheConfig(save_dir=tmp_path)
    train(config)
    assert encoded(train(config, seed=1)) == 128
    assert encoded(train(config, seed=1)) == 0
    assert encoded(train(CacheConfig(save_dir=tmp_path, dtype=torch.float16))) == 128
    assert encoded(train(CacheConfig(save_dir=tmp_path, autocast=torch.bfloat16))) == 128
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("vectors-")]) == 4


def test_half_precision_takes_half_the_room(tmp_path: Path) -> None:
    sizes = []
    for dtype in (None, torch.float16, torch.bfloat16):
        folder = tmp_path / str(dtype)
        train(CacheConfig(save_dir=folder, dtype=dtype))
        (table,) = folder.glob("vectors-*")
        sizes.append((table / "vectors" / "data.ninja").stat().st_size)
    assert sizes == [128 * 8 * 4, 128 * 8 * 2, 128 * 8 * 2]


@pytest.mark.parametrize("saved", [True, False], ids=["save_dir", "temporary"])
@pytest.mark.parametrize("kind", ["pairs", "groups"])
def test_processes_share_the_work(kind: str, saved: bool, tmp_path: Path) -> None:
    """Each encodes a part, all read everything, and the result is that of one process."""
    folder = tmp_path / "cache" if saved else None
    loss: dict[str, Any] = {"loss": TripletLoss()} if kind == "groups" else {}

    def loader(batch_size: int) -> Any:
        if kind == "groups":
            return GroupSimilarityDataLoader(groups(64), batch_size=batch_size, samples_per_group=4)
        return PairsSimilarityDataLoader(pairs(64), batch_size=batch_size)

    one = train(CacheConfig(), loader(16), **loss)
    two = train(CacheConfig(save_dir=folder), loader(8), processes=2, **loss)
    for name, expected in weights(one).items():
        torch.testing.assert_close(weights(two)[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    if folder is not None:
        (table,) = folder.glob("vectors-*")
        assert len(DiskTable(table)) == (128 if kind == "pairs" else 64)
        assert encoded(train(CacheConfig(save_dir=folder), loader(16), **loss)) == 0


def test_an_error_in_one_process_ends_all(tmp_path: Path) -> None:
    class Broken(Dataset[Any]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            if index == 50 and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
                raise OSError("cannot be read")
            return pairs(64)[index]

    with pytest.raises(Exception, match=r"cannot be read|terminated|failed in process 1"):
        train(CacheConfig(), PairsSimilarityDataLoader(Broken(), batch_size=8), processes=2)


class Counting(Dataset[Any]):
    def __init__(self, seed: int = 0) -> None:
        self.samples = pairs(64, seed)
        self.reads = 0

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.samples[index]


def reads_of(config: CacheConfig, version: str | None, seed: int = 0) -> int:
    model = SmallModel(frozen=True, cache=config)
    data = Counting(seed)
    cache = EmbeddingCache(model.model, config)
    cache.fill(PairsSimilarityDataLoader(data, batch_size=16, dataset_version=version), progress=False)
    return data.reads


def test_of_a_data_set_of_a_known_version_a_few_samples_are_read(tmp_path: Path) -> None:
    config = CacheConfig(save_dir=tmp_path)
    assert reads_of(config, "2026-11-21") == 64
    assert reads_of(config, "2026-11-21") == 8, "to see that the version is right"
    assert reads_of(config, "2026-11-22", seed=3) == 64
    assert reads_of(config, None) == 64
    trained = [
        train(config, PairsSimilarityDataLoader(pairs(64), batch_size=16, dataset_version=version))
        for version in ("2026-11-21", None)
    ]
    for name, expected in weights(trained[0]).items():
        assert torch.equal(weights(trained[1])[name], expected)
    for saved in (tmp_path / "datasets").iterdir():  # whatever is damaged is read again, and mended
        content = bytearray(saved.read_bytes())
        content[-3] ^= 1
        saved.write_bytes(content)
    assert [reads_of(config, "2026-11-21") for _ in range(2)] == [64, 8]


def test_a_hugging_face_fingerprint_is_a_version(tmp_path: Path) -> None:
    class Rows(Counting):
        _fingerprint = "abc"

    loader = PairsSimilarityDataLoader(Rows(), batch_size=16)
    assert loader.dataset_version == "abc"
    assert PairsSimilarityDataLoader(Rows(), batch_size=16, dataset_version="mine").dataset_version == "mine"


def test_a_wrong_version_is_found_out(tmp_path: Path) -> None:
    config = CacheConfig(save_dir=tmp_path)
    train(config, PairsSimilarityDataLoader(pairs(64), batch_size=16, dataset_version="1"))
    with pytest.raises(ValueError, match="not what it was when the cache was filled"):
        train(config, PairsSimilarityDataLoader(pairs(64, seed=4), batch_size=16, dataset_version="1"))


def test_workers_read_while_filling() -> None:
    model = train(CacheConfig(num_workers=2))
    assert encoded(model) == 128


def test_another_dtype_needs_a_disk() -> None:
    with pytest.raises(ValueError, match="dtype is for vectors on disk; give a save_dir"):
        train(CacheConfig(dtype=torch.float16))


class Slow(NumbersEncoder):
    def forward(self, batch: Any) -> Any:
        time.sleep(0.002)
        return super().forward(batch)


class SlowModel(SmallModel):
    def configure_encoders(self) -> Any:
        return Slow(frozen=True)


def test_a_fill_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simlearn.cache import embedding_cache, reading

    monkeypatch.setattr(reading, "CHUNK", 16)
    monkeypatch.setattr("simlearn.store.pending.Pending.is_due", property(lambda pending: len(pending) >= 16))
    samples = [pair for seed in range(4) for pair in pairs(64, seed=seed)]
    config = CacheConfig(save_dir=tmp_path, batch_size=8)

    def fill() -> Any:
        cache = embedding_cache.EmbeddingCache(SlowModel(frozen=True).model, config)
        return cache, cache.fill(PairsSimilarityDataLoader(samples, batch_size=16), progress=False)

    def committed() -> int:
        (commit,) = [*tmp_path.glob("vectors-*/commit.json")] or [None]
        return 0 if commit is None else len(DiskTable(commit.parent))

    kept = 0
    for _ in range(3):
        kill_when(forked(fill), lambda before=kept: committed() > before)
        rows = committed()
        assert kept < rows < 512, "what was committed stays, and the rest was not done"
        kept = rows
    cache, table = fill()
    encoder: Any = cache.model.encoders["default"]
    assert encoder.encoded == 512 - kept
    (disk,) = cache.tables.values()
    vectors = disk.take(table.query_rows["default"], "cpu")[0].values
    objects = torch.tensor([sample.obj_a for sample in samples])
    torch.testing.assert_close(vectors, encoder.linear(objects).detach())


@pytest.mark.parametrize("kind", [CacheType.CPU, CacheType.MMAP, CacheType.AUTO])
def test_only_the_rows_in_use_are_copied(kind: CacheType, tmp_path: Path) -> None:
    train(CacheConfig(save_dir=tmp_path), PairsSimilarityDataLoader(pairs(200, seed=8), batch_size=16))
    few = PairsSimilarityDataLoader(pairs(20, seed=8), batch_size=4)
    config = CacheConfig(kind, save_dir=tmp_path)
    model = SmallModel(frozen=True, cache=config)
    cache = EmbeddingCache(model.model, config)
    table = cache.fill(few, progress=False)
    assert table is not None
    (part,) = model.model.plan["query"]
    rows = table.query_rows["default"][torch.tensor([3, 3, 0])]
    vectors, _ = cache.take(part, CachedRows(rows), torch.device("cpu"))
    objects = torch.tensor([pairs(200, seed=8)[row].obj_a for row in (3, 3, 0)])
    encoder: Any = model.model.encoders["default"]
    torch.testing.assert_close(vectors.values, encoder.linear(objects).detach())
    read: Any = cache._resident["default", None]
    assert len(read.copied if kind is CacheType.CPU else read) == (40 if kind is CacheType.CPU else 400)


def test_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="num_workers must not be negative"):
        CacheConfig(num_workers=-1)
    with pytest.raises(ValueError, match=r"dtype must be a floating-point dtype such as torch.float16, got torch.int8"):
        CacheConfig(dtype=torch.int8)
    with pytest.raises(ValueError, match="autocast must be a floating-point dtype"):
        CacheConfig(autocast="bfloat16")  # type: ignore[arg-type]
