"""Caches that format version 1 left on disk: what still means the same is found, the rest is encoded anew."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fixtures.hearing import hearing
from fixtures.version1_classes import (
    CACHES,
    FOLDER,
    NUMBERS,
    SERVABLES,
    VERSION,
    Backwards,
    Times,
    number_pairs,
    text_pairs,
)
from small_models import NumbersEncoder, quiet_trainer
from torch.utils.data import Dataset

from simlearn import (
    CacheConfig,
    MultipleNegativesRankingLoss,
    PairsSimilarityDataLoader,
    SimilarityPairSample,
    SkipConnectionHead,
    TrainableModel,
    TwoTower,
    fit,
)
from simlearn.cache import EmbeddingCache
from simlearn.cache.token_cache import TokenLookup
from simlearn.data import SampleTable
from simlearn.encoders import BagOfTokensEncoder, TextEncoder
from simlearn.models import SimilarityModel
from simlearn.towers.inputs import CachedRows

EXPECTED = np.load(FOLDER / "expected.npz", allow_pickle=False)


def encoder_of(servable: str) -> Any:
    return SimilarityModel.load(SERVABLES / servable, classes=(NumbersEncoder,)).plan.encoders["default"]


def frozen_text(name: str = "meaning") -> TwoTower:
    text = encoder_of("text")
    return TwoTower(query={name: text.with_prompt("query: ")}, document={name: text})


def frozen_words() -> dict[str, Any]:
    return {"words": encoder_of("bag")}


OWN: dict[str, Callable[[], Any]] = {"meaning": frozen_text}


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by a number whenever an encoder of simlearn encodes a batch."""
    calls: list[int] = []
    for cls in (TextEncoder, BagOfTokensEncoder):
        forward = cls.forward

        def counted(self: Any, batch: Any, forward: Any = forward) -> Any:
            calls.append(1)
            return forward(self, batch)

        monkeypatch.setattr(cls, "forward", counted)
    return calls


def fill(folder: Path, encoders: Any, samples: Any, version: str | None = None) -> dict[str, np.ndarray]:
    """The vectors of the samples' objects by encoder and role, as training would read them from the cache."""
    model = SimilarityModel(encoders)
    cache = EmbeddingCache(model, CacheConfig(save_dir=folder, batch_size=4))
    table = cache.fill(PairsSimilarityDataLoader(samples, batch_size=4, dataset_version=version), progress=False)
    assert isinstance(table, SampleTable)
    rows = {("query", name): column for name, column in table.query_rows.items()}
    rows |= {("document", name): column.values for name, column in table.document_rows.items()}
    return {
        f"{part.encoder}/{role}": cache.take(part, CachedRows(rows[role, part.name]), torch.device("cpu"))[0]
        .values.float()
        .numpy()
        for role in ("query", "document")
        for part in model.plan[role]
    }


def check(vectors: dict[str, np.ndarray], folder: str, name: str, *, exactly: bool = True) -> None:
    assert set(vectors) == {f"{name}/query", f"{name}/document"}
    for role, values in vectors.items():
        expected = EXPECTED[f"caches/{folder}/{role}"]
        np.testing.assert_allclose(values, expected, rtol=0 if exactly else 1e-5, atol=0 if exactly else 1e-6)


@contextmanager
def read_only(source: Path) -> Iterator[Path]:
    """A copy of a folder that this process may read and not write, root or not."""
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders let nobody else in
        folder = Path(shutil.copytree(source, Path(place) / "cache"))
        places = [Path(place), folder, *folder.rglob("*")]
        for path in places:
            path.chmod(0o555 if path.is_dir() else 0o444)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            for path in places:
                path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("name", sorted(OWN))
def test_vectors_of_simlearns_encoders_are_found(name: str, tmp_path: Path, encoded: list[int]) -> None:
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    for _ in range(2):
        with hearing() as heard:
            vectors = fill(folder, OWN[name](), text_pairs())
        check(vectors, "own", name)
        assert not encoded and not heard


@pytest.mark.parametrize("name", sorted(OWN))
def test_new_objects_are_added(name: str, tmp_path: Path, encoded: list[int]) -> None:
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    more = [*text_pairs(), SimilarityPairSample("new", "newer")]
    vectors = fill(folder, OWN[name](), more)
    assert encoded
    check({role: values[:-1] for role, values in vectors.items()}, "own", name)
    encoded.clear()
    again = fill(folder, OWN[name](), more)
    assert not encoded
    for role, values in vectors.items():
        np.testing.assert_array_equal(again[role], values)


def test_they_are_found_under_another_name_too(tmp_path: Path, encoded: list[int]) -> None:
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    vectors = fill(folder, frozen_text("title"), text_pairs())
    assert not encoded
    check({role.replace("title", "meaning"): values for role, values in vectors.items()}, "own", "meaning")


class Read(Dataset[Any]):
    """Counts how often a sample is read."""

    def __init__(self) -> None:
        self.count = 0

    def __len__(self) -> int:
        return len(text_pairs())

    def __getitem__(self, index: int) -> Any:
        self.count += 1
        return text_pairs()[index]


def test_a_data_set_of_a_known_version_has_its_rows(tmp_path: Path, encoded: list[int]) -> None:
    """They may be read once more, since version 1 kept nothing to check them by; then no more."""
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    reads = []
    for _ in range(2):
        data = Read()
        with hearing() as heard:
            vectors = fill(folder, frozen_text(), data, VERSION)
        check(vectors, "own", "meaning")
        assert not encoded and not heard
        reads.append(data.count)
    assert reads[0] in (0, len(text_pairs())) and reads[1] == 0


def test_tokens_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    kept: list[int] = []
    keep = TokenLookup.keep
    monkeypatch.setattr(TokenLookup, "keep", lambda self, *given: (kept.append(1), keep(self, *given))[1])
    model = SimilarityModel(TextEncoder(encoder_of("text").model, trainable=True))
    cache = EmbeddingCache(model, CacheConfig(save_dir=folder, tokens=True))
    with hearing() as heard:
        cache.fill(PairsSimilarityDataLoader(text_pairs(), batch_size=4), progress=False)
    assert not kept and not heard
    assert cache.tokens is not None
    (table,) = cache.tokens.tables
    assert len(table) == len(text_pairs())


def test_a_folder_that_cannot_be_written_to_is_read(tmp_path: Path, encoded: list[int]) -> None:
    writable = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    for name, encoders in OWN.items():  # whatever is imported on the way is imported now, since root's Python may hide
        fill(writable, encoders(), text_pairs(), VERSION)
        built = encoders()
        with read_only(CACHES / "own") as folder:
            before = sorted(folder.rglob("*"))
            with hearing() as heard:
                for version in (None, VERSION):
                    check(fill(folder, built, text_pairs(), version), "own", name)
            assert sorted(folder.rglob("*")) == before
        assert not encoded and not heard


class Training(TrainableModel):
    def __init__(self, encoders: Any, cache: CacheConfig) -> None:
        self.given = [encoders, cache]
        super().__init__()

    def configure_encoders(self) -> Any:
        return self.given[0]

    def configure_head(self, input_embedding_size: int) -> SkipConnectionHead:
        return SkipConnectionHead(input_embedding_size)

    def configure_loss(self) -> Any:
        return MultipleNegativesRankingLoss()

    def configure_caches(self) -> CacheConfig:
        return self.given[1]


def test_training_encodes_nothing_again(tmp_path: Path, encoded: list[int]) -> None:
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    loader = PairsSimilarityDataLoader(text_pairs(), batch_size=4, dataset_version=VERSION)
    fit(Training(frozen_text(), CacheConfig(save_dir=folder)), loader, trainer=quiet_trainer(max_epochs=1))
    assert not encoded


def test_a_users_class_is_encoded_anew_with_one_line(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CACHES / "foreign", tmp_path / "cache"))
    for run in range(2):
        encoder = encoder_of("numbers")
        with hearing() as heard:
            vectors = fill(folder, {"numbers": encoder}, number_pairs())
        check(vectors, "foreign", "numbers", exactly=False)
        assert encoder.encoded == (0 if run else len(NUMBERS))
        assert len(heard) == (0 if run else 1), heard
        assert run or "NumbersEncoder" in heard[0]


@pytest.mark.parametrize("factor", [3.0, 1.0])
def test_the_vectors_of_other_settings_are_never_taken(factor: float, tmp_path: Path) -> None:
    """Version 1 kept those of every factor in one table; these are of 1."""
    folder = Path(shutil.copytree(CACHES / "foreign", tmp_path / "cache"))
    expected = factor * np.array(NUMBERS, np.float32)
    for run in range(2):
        encoder = Times(factor)
        with hearing() as heard:
            vectors = fill(folder, {"times": encoder}, number_pairs())
        np.testing.assert_array_equal(vectors["times/query"], expected)
        np.testing.assert_array_equal(vectors["times/document"], np.roll(expected, -1, axis=0))
        assert encoder.encoded == (0 if run else len(NUMBERS))
        assert len(heard) == (0 if run else 1), heard
        assert run or "Times" in heard[0]


def test_bags_are_encoded_anew_with_one_line(tmp_path: Path, encoded: list[int]) -> None:
    """Version 1 had one identity for simlearn's vectorizer and all that derive from it: whose are these?"""
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    for run in range(2):
        encoded.clear()
        with hearing() as heard:
            vectors = fill(folder, frozen_words(), text_pairs())
        check(vectors, "own", "words", exactly=False)
        assert bool(encoded) == (run == 0)
        assert len(heard) == (0 if run else 1), heard
        assert run or "BagOfTokensEncoder" in heard[0]


def test_another_vectorizer_is_not_served_what_simlearns_own_said(tmp_path: Path, encoded: list[int]) -> None:
    """Version 1 had one identity for both."""
    folder = Path(shutil.copytree(CACHES / "own", tmp_path / "cache"))
    encoder = BagOfTokensEncoder(Backwards(32, lengths=(2, 3)), 8, trainable=False, norm=0.7)
    encoder.load_state_dict(encoder_of("bag").state_dict())
    vectors = fill(folder, {"words": encoder}, text_pairs())
    assert encoded
    expected = SimilarityModel(encoder).encode([pair.obj_a for pair in text_pairs()])
    np.testing.assert_allclose(vectors["words/query"], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected, EXPECTED["caches/own/words/query"], atol=1e-3)
